"""Faces: how a face sample is stored, aligned, drawn and sampled from a clip."""
