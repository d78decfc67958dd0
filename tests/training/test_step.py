"""The training step: draws, targets, regional terms, and gradients that reach what they should."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hia.config import CodecConfig, LossWeights
from hia.config.stages import REGIONAL, SPATIAL, TEMPORAL_FULL
from hia.data.sampling.sample import Regions
from hia.diffusion.schedule import NoiseSchedule
from hia.images import to_tensor
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.models.face.embedder import load_face_embedder
from hia.training.batch import Batch
from hia.training.losses import regional_mse
from hia.training.step import Supervision, training_loss

SCHEDULE = NoiseSchedule(0.571)


class Recorder(nn.Module):
    """Stands where the animator stands: predicts a constant and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, noisy, timesteps, reference, control, token, keep, keep_control=None):
        self.given = {"noisy": noisy, "timesteps": timesteps, "keep": keep}
        self.keep_control = keep_control
        return torch.zeros_like(noisy) + self.bias


def batch_of(generator, batch=4, frames=1, regions=None):
    latents = torch.randn(batch, frames, 48, 12, 8, generator=generator)
    return Batch(
        latents=latents,
        reference_latents=latents[:, 0],
        control=torch.rand(batch, frames, 6, 48, 32, generator=generator),
        image_token=torch.randn(batch, 1, 16, generator=generator),
        images=None if regions is None else torch.rand(batch, frames, 3, 48, 32, generator=generator) * 2 - 1,
        regions=regions,
    )


def regions_of(generator, batch=4, frames=1):
    def mask():
        return (torch.rand(batch, frames, 1, 48, 32, generator=generator) < 0.2).float()

    points = torch.tensor([[10.0, 10], [20, 10], [15, 16], [11, 22], [19, 22]]).expand(batch, frames, 5, 2)
    return Regions(mask(), mask(), points, torch.ones(batch, frames, dtype=torch.bool))


def record(stage, batch, seed=0):
    model = Recorder()
    loss, terms = training_loss(model, SCHEDULE, batch, stage, torch.Generator().manual_seed(seed))
    return model.given, loss, terms


@pytest.mark.parametrize("stage", [SPATIAL, REGIONAL])
def test_timesteps_fill_the_stages_range_and_never_leave_it(stage, generator):
    regional_free = replace(stage, losses=LossWeights())
    drawn = torch.cat(
        [record(regional_free, batch_of(generator, batch=64), seed)[0]["timesteps"] for seed in range(40)]
    )
    first, end = stage.timesteps
    assert first <= drawn.min() and drawn.max() < end
    assert len(drawn.unique()) > 0.9 * min(len(drawn) / 3, end - first)


def test_noisy_latents_are_the_schedules_at_the_drawn_timestep(generator):
    batch = batch_of(generator)
    given, _, terms = record(SPATIAL, batch)
    alpha = SCHEDULE.alphas_cumprod[given["timesteps"]].float().reshape(-1, 1, 1, 1, 1)
    noise = (given["noisy"] - alpha.sqrt() * batch.latents) / (1 - alpha).sqrt()
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert float(terms["noise"]) == pytest.approx(float(noise.square().mean()), rel=1e-3), "it predicts zero noise"


def test_v_prediction_is_trained_toward_v(generator):
    batch, model = batch_of(generator), Recorder()
    schedule = NoiseSchedule(0.571, prediction_type="v_prediction")
    _, terms = training_loss(model, schedule, batch, SPATIAL, torch.Generator().manual_seed(0))
    alpha = schedule.alphas_cumprod[model.given["timesteps"]].float().reshape(-1, 1, 1, 1, 1)
    noise = (model.given["noisy"] - alpha.sqrt() * batch.latents) / (1 - alpha).sqrt()
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * batch.latents
    torch.testing.assert_close(terms["noise"].detach(), velocity.square().mean(), rtol=1e-3, atol=1e-4)


def test_conditions_are_dropped_at_the_stated_rate(generator):
    kept = torch.cat([record(SPATIAL, batch_of(generator, batch=64), seed)[0]["keep"] for seed in range(60)])
    assert float((~kept).float().mean()) == pytest.approx(0.1, abs=0.02)
    assert record(replace(SPATIAL, condition_dropout=0.0), batch_of(generator))[0]["keep"].all()


def test_the_generator_decides_everything(generator):
    batch = batch_of(generator)
    (one, loss, _), (again, same, _), (other, _, _) = (
        record(SPATIAL, batch, 3),
        record(SPATIAL, batch, 3),
        record(SPATIAL, batch, 4),
    )
    assert torch.equal(loss, same) and all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["noisy"], other["noisy"])


def test_the_loss_is_the_weighted_sum_of_its_terms(generator):
    stage = replace(REGIONAL, losses=LossWeights(noise=2.0, face=0.5, hand=3.0))
    batch = batch_of(generator, regions=regions_of(generator))
    supervision = Supervision(build_codec(CodecConfig(kind="pixel", factor=4)))
    loss, terms = training_loss(Recorder(), SCHEDULE, batch, stage, generator, supervision)
    assert set(terms) == {"noise", "face", "hand"}
    expected = 2.0 * terms["noise"] + 0.5 * terms["face"] + 3.0 * terms["hand"]
    torch.testing.assert_close(loss, expected)


def test_regional_terms_compare_the_decoded_one_step_estimate(generator):
    """With a predictor of zero noise, x'₀ is x_t / √ᾱ: decode and compare that by hand."""
    stage = replace(REGIONAL, losses=LossWeights(face=1.0))
    batch = batch_of(generator, regions=regions_of(generator))
    codec = build_codec(CodecConfig(kind="pixel", factor=4))
    model = Recorder()
    stage = replace(stage, losses=LossWeights(face=1.0, hand=1.0))
    _, terms = training_loss(model, SCHEDULE, batch, stage, generator, Supervision(codec))
    alpha = SCHEDULE.alphas_cumprod[model.given["timesteps"]].float().reshape(-1, 1, 1, 1)
    decoded = torch.nn.functional.pixel_shuffle(model.given["noisy"][:, 0] / alpha.sqrt(), 4)
    for name, mask in (("face", batch.regions.face_mask), ("hand", batch.regions.hand_mask)):
        expected = regional_mse(decoded, batch.images[:, 0], mask[:, 0])
        torch.testing.assert_close(terms[name], expected, rtol=1e-4, atol=1e-5)
    assert not torch.isclose(terms["face"], terms["hand"])


class MeanColour(nn.Module):
    """Stands where a face embedder stands: an image's mean colour."""

    def forward(self, images, five_points):
        return images.mean(dim=(2, 3))


def test_each_predicted_face_is_compared_with_its_own_clips_reference(generator):
    """Two clips of two frames; the faces of one frame cannot be used."""
    regions = regions_of(generator, batch=2, frames=2)
    references = torch.randn(2, 3, generator=generator)
    usable = torch.tensor([[True, False], [True, True]])
    batch = batch_of(generator, 2, 2, replace(regions, reference_embedding=references, face_usable=usable))
    codec, model = build_codec(CodecConfig(kind="pixel", factor=4)), Recorder()
    stage = replace(REGIONAL, losses=LossWeights(identity=1.0))
    _, terms = training_loss(model, SCHEDULE, batch, stage, generator, Supervision(codec, MeanColour()))
    alpha = SCHEDULE.alphas_cumprod[model.given["timesteps"]].float().reshape(-1, 1, 1, 1, 1)
    colours = nn.functional.pixel_shuffle(model.given["noisy"] / alpha.sqrt(), 4).mean(dim=(3, 4))
    pairs = [(references[clip], colours[clip, frame]) for clip, frame in ((0, 0), (1, 0), (1, 1))]
    expected = torch.stack([1 - nn.functional.cosine_similarity(one, other, dim=0) for one, other in pairs]).mean()
    torch.testing.assert_close(terms["identity"].detach(), expected, rtol=1e-4, atol=1e-5)


def test_what_a_regional_stage_lacks_is_named(generator):
    codec = build_codec(CodecConfig(kind="pixel", factor=4))
    with pytest.raises(ValueError, match="regions"):
        training_loss(Recorder(), SCHEDULE, batch_of(generator), REGIONAL, generator, Supervision(codec))
    full = batch_of(generator, regions=regions_of(generator))
    with pytest.raises(ValueError, match="Supervision"):
        training_loss(Recorder(), SCHEDULE, full, REGIONAL, generator)
    with pytest.raises(ValueError, match="face embedder"):
        training_loss(Recorder(), SCHEDULE, full, REGIONAL, generator, Supervision(codec))


@pytest.mark.parametrize("stage", [SPATIAL, TEMPORAL_FULL], ids=lambda stage: stage.name)
def test_each_stage_learns_its_batch(stage, tiny_config, generator):
    """A few steps on one batch with fixed draws lower the loss: the gradients point the right way."""
    animator, _ = build_animator(tiny_config(), motion="motion" in stage.trains)
    animator.train_only(stage.trains)
    batch = batch_of(generator, batch=2, frames=min(stage.frames, 3))
    optimizer = torch.optim.AdamW([p for p in animator.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(8):
        loss, _ = training_loss(animator, SCHEDULE, batch, stage, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.97 * losses[0]


@pytest.fixture
def real_face(sample_data):
    """A real frame's picture cut around its face: image [1, 3, 256, 256] in [−1, 1] and five points [1, 5, 2]."""
    from hia.conditions.regions import five_points
    from hia.pose.keypoint_files import load_keypoints
    from hia.video import read_frames

    sequence = load_keypoints(sample_data / "keypoints" / "gesture_woman_bench.npz")
    frame = next(iter(read_frames(sample_data / "clips" / "gesture_woman_bench.mp4")))
    points = five_points(sequence.keypoints[0], sequence.scores[0])
    left, top = (points.mean(axis=0) - 128).astype(int).clip(0)
    image = to_tensor(frame[top : top + 256, left : left + 256])[None]
    return image, torch.from_numpy(points - [left, top]).float()[None]


def test_the_identity_gradient_reaches_the_appearance_encoder_and_a_step_lowers_the_loss(
    real_face, sample_data, tiny_config, as_if_trained, generator, monkeypatch
):
    """The regional stage's identity term alone, through real TAESD and MobileFaceNet weights, on a real face."""
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    image, points = real_face
    codec, embedder = build_codec(CodecConfig(kind="taesd")), load_face_embedder("mobilefacenet")
    animator, _ = build_animator(
        tiny_config(
            "codec={kind: taesd, factor: null}", "width=256", "height=256", "network.block_out_channels=[32,32]"
        )
    )
    as_if_trained(animator).train_only(["appearance_encoder"])
    stage = replace(REGIONAL, losses=LossWeights(noise=0.0, identity=1.0), condition_dropout=0.0)
    mask = torch.zeros(1, 1, 1, 256, 256)
    regions = Regions(mask, mask, points[None], torch.ones(1, 1, dtype=torch.bool), embedder(image, points))
    latents = codec.encode(image)
    control = torch.rand(1, 1, 6, 256, 256, generator=generator)
    batch = Batch(latents[None], latents, control, torch.zeros(1, 1, 16), image[None], regions)

    def identity():
        step_generator = torch.Generator().manual_seed(3)
        return training_loss(animator, SCHEDULE, batch, stage, step_generator, Supervision(codec, embedder))[0]

    before = identity()
    before.backward()
    gradients = [parameter.grad for parameter in animator.part("appearance_encoder")]
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(animator.part("appearance_encoder"), gradients, strict=True):
            parameter -= 0.5 * gradient / norm
    after = identity()
    assert float(before) > 0.001 and float(after) < float(before)
    assert all(parameter.grad is None for parameter in embedder.parameters())


def test_a_stage_for_guidance_by_the_reference_drops_all_but_the_control(generator):
    batch, model = batch_of(generator, batch=64), Recorder()
    stage = replace(SPATIAL, condition_dropout=0.5)
    training_loss(model, SCHEDULE, batch, stage, torch.Generator().manual_seed(0))
    kept = model.given["keep"]
    assert model.keep_control is None and 10 < kept.sum() < 54
    training_loss(model, SCHEDULE, batch, replace(stage, dropped="reference"), torch.Generator().manual_seed(0))
    assert torch.equal(model.given["keep"], kept) and model.keep_control.all()
