"""Losses against their equations, written independently in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hia.training.losses import identity_loss, noise_mse, regional_mse

seeds = st.integers(0, 2**32 - 1)


def equation_1(target, predicted, masks):
    """Σ‖(I_tgt − I_pre) ⊙ M‖² / ΣM, pixel by pixel, mean over samples with a mask."""
    values = []
    for one, other, mask in zip(target, predicted, masks, strict=True):
        if mask.sum() == 0:
            continue
        total = 0.0
        for y, x in np.argwhere(mask[0]):
            total += float(((one[:, y, x] - other[:, y, x]) ** 2).sum())
        values.append(total / mask.sum())
    return np.mean(values) if values else 0.0


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 4))
def test_regional_mse_is_equation_1(seed, batch):
    random = np.random.default_rng(seed)
    target, predicted = random.uniform(-1, 1, (2, batch, 3, 7, 5))
    masks = (random.uniform(size=(batch, 1, 7, 5)) < random.uniform(size=(batch, 1, 1, 1))).astype(float)
    found = regional_mse(*(torch.from_numpy(array) for array in (predicted, target, masks)))
    assert float(found) == pytest.approx(equation_1(target, predicted, masks), rel=1e-5, abs=1e-9)


def test_only_the_region_counts():
    target = torch.zeros(1, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1, 2] = 1
    predicted = torch.full((1, 3, 4, 4), 9.0)
    predicted[..., 1, 2] = 0.5
    assert float(regional_mse(predicted, target, mask)) == pytest.approx(3 * 0.5**2)


def test_an_empty_mask_contributes_nothing_and_makes_no_nan():
    predicted = torch.randn(2, 3, 4, 4, requires_grad=True)
    mask = torch.zeros(2, 1, 4, 4)
    loss = regional_mse(predicted, torch.zeros(2, 3, 4, 4), mask)
    loss.backward()
    assert loss.item() == 0 and torch.equal(predicted.grad, torch.zeros_like(predicted))
    mask[0] = 1
    alone = regional_mse(predicted[:1], torch.zeros(1, 3, 4, 4), mask[:1])
    torch.testing.assert_close(regional_mse(predicted, torch.zeros(2, 3, 4, 4), mask), alone)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_identity_loss_is_equation_2(seed):
    reference, predicted = np.random.default_rng(seed).normal(size=(2, 3, 128))
    cosines = (reference * predicted).sum(1) / np.linalg.norm(reference, axis=1) / np.linalg.norm(predicted, axis=1)
    found = identity_loss(torch.from_numpy(reference), torch.from_numpy(predicted))
    assert float(found) == pytest.approx(np.mean(1 - cosines), rel=1e-5)


def test_samples_without_a_usable_face_are_left_out_of_the_mean():
    reference, predicted = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))
    predicted[2:] = float("nan")
    usable = torch.tensor([True, True, False, False])
    torch.testing.assert_close(identity_loss(reference, predicted, usable), identity_loss(reference[:2], predicted[:2]))


def test_a_missing_face_makes_no_nan_in_the_gradient_either():
    reference, predicted = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    reference[1] = predicted[2] = float("nan")
    predicted.requires_grad_()
    identity_loss(reference, predicted, torch.tensor([True, False, False])).backward()
    assert predicted.grad[0].any() and not predicted.grad[1:].any()


def test_no_usable_face_at_all_is_a_loss_of_zero_with_a_zero_gradient():
    predicted = torch.randn(2, 16, requires_grad=True)
    loss = identity_loss(torch.randn(2, 16), predicted, torch.tensor([False, False]))
    loss.backward()
    assert loss.item() == 0 and torch.equal(predicted.grad, torch.zeros_like(predicted))


def test_noise_mse_is_the_mean_over_everything():
    one, other = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert float(noise_mse(one, other)) == pytest.approx(float(np.mean((one.numpy() - other.numpy()) ** 2)), rel=1e-6)
