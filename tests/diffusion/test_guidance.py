"""Guidance moves toward the condition (eq. 4, its sign put right)."""

import torch

from hia.diffusion.guidance import animation_guidance

UNCONDITIONAL, CONDITIONAL = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))


def test_scale_one_is_the_conditional_prediction_and_zero_the_unconditional():
    torch.testing.assert_close(animation_guidance(UNCONDITIONAL, CONDITIONAL, 1.0), CONDITIONAL)
    torch.testing.assert_close(animation_guidance(UNCONDITIONAL, CONDITIONAL, 0.0), UNCONDITIONAL)


def test_a_growing_scale_moves_along_the_difference_toward_the_condition():
    toward = CONDITIONAL - UNCONDITIONAL
    for scale in (1.5, 3.5, 7.5):
        moved = animation_guidance(UNCONDITIONAL, CONDITIONAL, scale) - UNCONDITIONAL
        torch.testing.assert_close(moved, scale * toward)


def test_the_sign_printed_in_the_paper_would_fail_here():
    printed = UNCONDITIONAL + 3.5 * (UNCONDITIONAL - CONDITIONAL)
    target = UNCONDITIONAL + 3.5 * (CONDITIONAL - UNCONDITIONAL)
    ours = animation_guidance(UNCONDITIONAL, CONDITIONAL, 3.5)
    assert (ours - target).norm() < 1e-5 < (printed - target).norm()
