"""Losses: one a file, pure functions, float32 arithmetic, a scalar out."""
