"""Networks: the DAFR restorer, encoders around timm backbones, projection heads, controls."""
