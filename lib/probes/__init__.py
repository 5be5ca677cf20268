"""Downstream tasks: a linear probe of clean features, or the encoder fine-tuned, scored under every condition."""
