"""The training context of a stage: its data, noise schedule and frozen networks."""

from dataclasses import dataclass, replace

import torch

from hia.config import Config, LossWeights, Stage
from hia.data.sampling import Sample, TrainingSamples
from hia.data.store.clip_store import ClipStore
from hia.diffusion.schedule import NoiseSchedule
from hia.models.codec import Codec, build_codec
from hia.models.face.embedder import load_face_embedder
from hia.models.image_encoder import ImageEncoder, load_image_encoder
from hia.training.batch import Batch, to_batch
from hia.training.step import Supervision


@dataclass(frozen=True)
class TrainingContext:
    """The data, schedule and frozen networks of a stage, on one device; not the model."""

    config: Config
    stage: Stage
    store: ClipStore
    device: torch.device
    schedule: NoiseSchedule
    codec: Codec
    image_encoder: ImageEncoder | None
    supervision: Supervision | None
    token_dimension: int

    def batch(self, samples: Sample) -> Batch:
        """Encode stacked samples into the batch of a training step."""
        return to_batch(samples, self.device, self.token_dimension, self.codec, self.image_encoder)


def load_training_context(
    config: Config, stage: Stage, store: ClipStore, device: torch.device, token_dimension: int
) -> TrainingContext:
    """Load the frozen networks that this stage needs. Raises MissingWeights for what is not found."""
    codec = build_codec(config.codec).to(device)
    source = config.pretrained.image_encoder
    embedder = load_face_embedder(config.face_embedder) if stage.losses.identity and config.face_embedder else None
    supervision = Supervision(codec, embedder.to(device) if embedder else None) if stage.losses.regional else None
    return TrainingContext(
        config=config,
        stage=stage,
        store=store,
        device=device,
        schedule=NoiseSchedule.of(config),
        codec=codec,
        image_encoder=load_image_encoder(source).to(device) if source else None,
        supervision=supervision,
        token_dimension=token_dimension,
    )


def training_samples(context: TrainingContext) -> TrainingSamples:
    """The stage's samples. Raises ValueError when the store has none that are long enough."""
    return TrainingSamples(context.store, context.config, context.stage, context.config.seed)


def held_out_samples(context: TrainingContext) -> TrainingSamples | None:
    """Samples of the clips kept for testing, of the stage's own length; None where there are none."""
    if not context.store.of_split("test"):
        return None
    stage = replace(context.stage, losses=LossWeights())
    scale = context.store.sharpness_scale
    try:
        return TrainingSamples(
            context.store, context.config, stage, context.config.seed, split="test", sharpness_scale=scale
        )
    except ValueError:  # all too short for this stage's windows; clips that are trained on are refused above
        return None
