"""The configuration keys that each stage reads: a change of any other key does not make it run again.

`READS` is the table. Weights count by their content, γ as the number that results, the learning rate as the one that
is used, precision as the type that results.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hia.config import Config, Stage
from hia.data.preprocess.manifest import WITHOUT_EFFECT
from hia.pose.estimators import NETWORK_SETTINGS
from orchestration.stages.content_hashes import ContentHashes

MODEL = ("width", "height", "seed", "network", "codec", "pretrained", "schedule", "conditions")

# Dotted paths of the configuration by kind of stage; STAGE is the training stage's own name.
READS: Mapping[str, tuple[str, ...]] = {
    "dancers": ("width", "height", "dancers"),
    "preprocess": ("data", "width", "height", "preprocess", "codec", "pretrained", "face_embedder", "stages"),
    "training": (*MODEL, "samples", "face_embedder", "optimizer", "training.precision", "stages.STAGE"),
    "evaluate": (*MODEL, "sampling", "evaluation", "training.evaluation_clips", "training.evaluation_frames"),
    "export": (*MODEL, "sampling"),
    "register": (),
    "sample": ("seed", "sampling"),
}

# Read by preprocessing, but they change which clips are in the store and not the clips: it is brought up to date.
UPDATING = (
    *(f"preprocess.{key}" for key in WITHOUT_EFFECT),
    *(f"preprocess.pose.{key}" for key in NETWORK_SETTINGS),
)

# Where and how fast, not what: no stage's result depends on these (except by rounding).
IRRELEVANT = (
    *("preset", "ablation", "storage"),
    *("network.attention", "codec.slicing", "preprocess.pose.device", "samples.workers"),
    *("training.workers", "training.gpus_per_worker", "training.cpus_per_worker", "training.accelerator_type"),
    *("training.zero_stage", "training.offload_optimizer", "training.gradient_checkpointing"),
    *("training.checkpoint_every", "training.num_to_keep", "training.most_failures", "training.log_every"),
    *("training.validate_every", "training.validation_samples", "training.validation_bins"),
    *("training.preview_clips", "training.preview_frames", "training.timeout_minutes"),
    *("sampling.window_batch", "sampling.decode_batch"),
)


def of_dancers(config: Config) -> dict[str, Any]:
    """Values that the generated dancers depend on."""
    return _picked(config, "dancers")


def of_preprocess(config: Config, contents: ContentHashes) -> dict[str, Any]:
    """Values that the clips depend on: those of networks only as far as the store keeps their outputs."""
    wanted = config.preprocess
    values = _picked(config, "preprocess", without=(*UPDATING, "codec", "pretrained", "face_embedder", "stages"))
    if wanted.latents:
        codec = asdict(config.codec) | {"weights": contents.of_codec(config.codec)}
        values |= {
            "codec": codec,
            "latent_sizes": [list(size) for size in config.training_sizes],
            "mirrored_latents": config.samples.mirrors,
        }
    if wanted.image_tokens:
        values["image_encoder"] = contents.of_weights(config.pretrained.image_encoder, "image_encoder")
    if wanted.face_embedding_every:
        values["face_embedder"] = contents.of_face_embedder(config.face_embedder)
    return _plain(values)


def of_training(config: Config, stage: Stage, contents: ContentHashes) -> dict[str, Any]:
    """Values that a training stage's weights depend on, besides its inputs."""
    motion = "motion" in stage.trains
    values = _picked(config, "training", stage=stage.name, without=("face_embedder", "optimizer.learning_rate"))
    values |= _model(config, contents, motion)
    if stage.losses.identity:
        values["face_embedder"] = contents.of_face_embedder(config.face_embedder)
    values["training"] = {"precision": config.training.dtype}
    values["stages"][stage.name]["learning_rate"] = stage.learning_rate or config.optimizer.learning_rate
    return _plain(values)


def of_evaluate(config: Config, contents: ContentHashes) -> dict[str, Any]:
    """Values that the metrics depend on, besides the trained weights: among them the metrics' own networks."""
    values = _picked(config, "evaluate", without=("evaluation.metrics", "evaluation.weights"))
    values["metrics"] = contents.of_metrics(config.evaluation)
    return _plain(values | _model(config, contents))


def of_export(config: Config, contents: ContentHashes) -> dict[str, Any]:
    """Values that the model directory depends on, besides the trained weights."""
    return _plain(_picked(config, "export") | _model(config, contents))


def of_sample(config: Config) -> dict[str, Any]:
    """Values that the sample depends on, besides the exported model and the clips."""
    return _picked(config, "sample")


def updating(config: Config) -> dict[str, Any]:
    """The values with which a store is kept up to date."""
    return _plain(_chosen(asdict(config), UPDATING))


def _model(config: Config, contents: ContentHashes, motion: bool = True) -> dict[str, Any]:
    """The model as its configuration describes it: its shape, the weights that it starts from, γ."""
    pretrained = config.pretrained
    values = _chosen(asdict(config), MODEL, IRRELEVANT)
    values["schedule"]["gamma"] = config.gamma
    values["codec"]["weights"] = contents.of_codec(config.codec)
    values["pretrained"] = {
        "model": contents.of_weights(pretrained.model),
        "unet": contents.of_weights(pretrained.unet, "unet"),
        "controlnet": contents.of_weights(pretrained.controlnet, "controlnet"),
        "motion": contents.of_weights(pretrained.motion, "motion_adapter"),
        "image_encoder": contents.of_weights(pretrained.image_encoder, "image_encoder"),
    }
    if not motion:
        del values["pretrained"]["motion"]
        values["network"] = {k: value for k, value in values["network"].items() if not k.startswith("motion_")}
    return values


def _picked(config: Config, kind: str, stage: str = "", without: Sequence[str] = ()) -> dict[str, Any]:
    paths = [path.replace("STAGE", stage) for path in READS[kind]]
    return _plain(_chosen(asdict(config), paths, (*IRRELEVANT, *without)))


def _chosen(values: Mapping[str, Any], paths: Sequence[str], without: Sequence[str] = ()) -> dict[str, Any]:
    """The values at some dotted paths, nested as they were, except those at others."""
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        inner = [path.partition(".")[2] for path in paths if path.partition(".")[0] == key]
        left_out = [path.partition(".")[2] for path in without if path.partition(".")[0] == key]
        if not inner or "" in left_out:
            continue
        if isinstance(value, Mapping):
            chosen[key] = _chosen(value, list(value) if "" in inner else inner, left_out)
        else:
            chosen[key] = value
    return chosen


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values after a round trip through JSON: tuples are lists."""
    return json.loads(json.dumps(values))
