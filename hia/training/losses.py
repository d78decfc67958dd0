"""Losses: the regional ones of paper sec. 3.1 beside the usual noise prediction error.

Their means are taken over one micro-batch. Ranks and accumulation steps then average those means, so with micro-batches
of one sample a sample without a face counts as a face without error.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def noise_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error between the model's prediction and its target; same shapes → scalar."""
    return F.mse_loss(prediction.float(), target.float())


def regional_mse(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error inside a region per pixel of the region (eq. 1).

    predicted, target: images [B, 3, H, W] in [−1, 1]; mask [B, 1, H, W] in {0, 1} → scalar: the squared error, summed
    over channels and pixels, by the mask's area, averaged over the samples whose mask is not empty. No mask, no loss.
    """
    squared = ((predicted - target).float() * mask).square().flatten(1).sum(dim=1)
    area = mask.float().flatten(1).sum(dim=1)
    return (squared / area.clamp(min=1)).sum() / (area > 0).sum().clamp(min=1)


def identity_loss(reference_embedding: Tensor, predicted_embedding: Tensor, usable: Tensor | None = None) -> Tensor:
    """1 − cosine of two face embeddings (eq. 2).

    Embeddings [B, D] (any length); usable bool [B]: samples with a face that can be compared, default all. → scalar:
    the mean over usable samples, 0 if there is none.
    """
    reference, predicted = reference_embedding.float(), predicted_embedding.float()
    if usable is None:
        return (1 - F.cosine_similarity(reference, predicted, dim=-1)).mean()
    # Taken out before the cosine: behind it, a NaN would still reach the gradient.
    reference, predicted = (torch.where(usable[:, None], x, torch.ones_like(x)) for x in (reference, predicted))
    distance = 1 - F.cosine_similarity(reference, predicted, dim=-1)
    return torch.where(usable, distance, 0).sum() / usable.sum().clamp(min=1)
