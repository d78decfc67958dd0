"""Random numbers of training: each micro-batch has its own, whichever process computes it, and whenever."""

import hashlib

import torch


def generator_for(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator that depends on the seed and the place (stage, position of the first sample, …) alone."""
    text = "/".join(str(part) for part in (seed, *place))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
