"""Noise schedule, guidance, windows and the sampler."""
