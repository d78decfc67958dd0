"""Classifier-free guidance for animation (paper sec. 3.4, eq. 4)."""

from torch import Tensor


def animation_guidance(unconditional: Tensor, conditional: Tensor, guidance_scale: float) -> Tensor:
    """ε∅ + ω·(ε_c − ε∅): away from the unconditional prediction, toward the condition.

    Equation 4 is printed with the difference reversed, which would push away from the condition. ω = 1 returns the
    conditional prediction.   unconditional, conditional: same shape.
    """
    return unconditional + guidance_scale * (conditional - unconditional)
