"""Downstream tasks: each fits a linear probe on clean features and is scored under every condition."""
