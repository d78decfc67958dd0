"""The trained model, assembled from the weights of the training stages; the export stage writes its directory."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch

from hia.config import Config
from hia.data.store.clip_store import ClipStore, open_store
from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.codec import build_codec
from hia.models.image_encoder import load_image_encoder
from orchestration.chain.stage import StageRun
from orchestration.names import MODEL
from orchestration.training.run import WEIGHTS
from orchestration.training.weights import load_animator


def export(run: StageRun) -> dict[str, float]:
    """Write the trained model's directory, and read it back; returns its size in MB and its γ."""
    store = open_store(run.store, check="none")
    folder = run.folder / MODEL
    save_model(trained_model(portable(run.config), trained_weights(run), store), folder)
    model = load_model(folder)  # all files there, unaltered, and fit to be used
    run.journal.artifact(MODEL, MODEL)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"megabytes": size / 1e6, "gamma": model.config.gamma}


def portable(config: Config) -> Config:
    """The configuration without this machine's paths, which are no property of a model."""
    defaults = Config(preset=config.preset)
    return replace(config, storage=defaults.storage, data=defaults.data)


def trained_model(config: Config, weights: Sequence[str], store: ClipStore) -> AnimationModel:
    """The model of the stages' folders of weights, with the store's sharpness percentiles."""
    motion = any("motion" in stage.trains for stage in config.stages.in_order())
    animator = load_animator(config, weights, motion).eval().requires_grad_(False)
    source = config.pretrained.image_encoder
    return AnimationModel(
        config=config,
        animator=animator,
        codec=build_codec(config.codec),
        image_encoder=load_image_encoder(source) if source else None,
        sharpness=store.sharpness_scale,
    )


def trained_weights(run: StageRun) -> tuple[str, ...]:
    """Folders of the weights of the run's training stages, in order."""
    return tuple(str(run.inputs[stage.name] / WEIGHTS) for stage in run.config.stages.in_order())


def to_workers_device(model: AnimationModel) -> AnimationModel:
    """The model in bf16 on the worker's GPU, or unchanged on the CPU where training has no GPUs."""
    has_gpu = bool(model.config.training.gpus_per_worker)
    return model.to("cuda", torch.bfloat16) if has_gpu else model


# A worker evaluates all its clips with the same model.
@lru_cache(maxsize=1)
def cached_model(config: Config, weights: tuple[str, ...], store: str) -> AnimationModel:
    return to_workers_device(trained_model(config, weights, open_store(store, check="none")))
