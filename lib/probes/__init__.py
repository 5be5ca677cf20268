"""Downstream tasks: each fits a linear probe on clean features, or fine-tunes the encoder, and is scored under every condition."""
