"""The stages of a configuration's chain, in order.

dancers (without data) → preprocess → the training stages → evaluate → export → register → sample
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from hia.config import Config, Stage
from hia.data.preprocess.manifest import PREPROCESSING_VERSION
from hia.synthetic.writer import VERSION as DANCERS_VERSION
from orchestration.chain.stage import ChainStage, StageRun
from orchestration.names import (
    DANCERS,
    EVALUATE,
    EXPORT,
    MODEL_NOTE,
    PREPROCESS,
    REGISTER,
    REGISTERED_MODEL,
    SAMPLE,
    SAMPLE_VIDEO,
    SEEN_NOTE,
    STORE,
    STORE_NOTE,
    SUMMARY,
    VIDEOS,
)
from orchestration.preflight import is_store
from orchestration.stages import config_keys
from orchestration.stages.content_hashes import ContentHashes
from orchestration.stages.inputs import Preprocessing, store_fingerprint, use_store, write_dancer_videos
from orchestration.training.run import CHECKPOINTS, RAY_FOLDER, WEIGHTS, TrainingRun

# To be raised whenever the same configuration and inputs would give another result.
TRAINING_VERSION, EVALUATION_VERSION, EXPORT_VERSION, REGISTER_VERSION, SAMPLE_VERSION = 1, 2, 1, 3, 2


def chain_stages(config: Config, contents: ContentHashes) -> tuple[ChainStage, ...]:
    """All stages of the chain. Raises MissingWeights for weights that cannot be found."""
    first = [] if config.data is not None else [_dancers(config)]
    data = _store(config) if config.data is not None and is_store(config.data) else _preprocess(config, contents)
    stages = tuple(config.stages.in_order())
    training = [
        _training(config, stage, [one.name for one in stages[:index]], contents) for index, stage in enumerate(stages)
    ]
    return (*first, data, *training, *_results(config, [stage.name for stage in stages], contents))


def _dancers(config: Config) -> ChainStage:
    count = config.dancers.count
    return ChainStage(
        name=DANCERS,
        version=DANCERS_VERSION,
        reads=config_keys.of_dancers(config),
        inputs=(),
        run=write_dancer_videos,
        required_outputs=tuple(
            f"{VIDEOS}/dancer_{number:03d}.{kind}" for number in range(count) for kind in ("mp4", "npz")
        ),
        progress_of=lambda folder: f"{len(list(folder.glob(f'{VIDEOS}/*.npz')))} of {count} dancers",
        uses_cluster=False,
    )


def _preprocess(config: Config, contents: ContentHashes) -> ChainStage:
    preprocessing = Preprocessing(config)
    return ChainStage(
        name=PREPROCESS,
        version=PREPROCESSING_VERSION,
        reads=config_keys.of_preprocess(config, contents),
        inputs=() if config.data is not None else (DANCERS,),
        run=preprocessing.run,
        required_outputs=(STORE_NOTE, SEEN_NOTE),
        progress_of=lambda folder: f"{len(list(folder.glob(f'{STORE}/videos/*.json')))} videos",
        output=store_fingerprint,
        outdated=preprocessing.outdated,
    )


def _store(config: Config) -> ChainStage:
    return ChainStage(
        name=PREPROCESS,
        version=PREPROCESSING_VERSION,
        reads={"store": config.data},
        inputs=(),
        run=use_store,
        required_outputs=(STORE_NOTE,),
        output=store_fingerprint,
        uses_cluster=False,
    )


def _training(config: Config, stage: Stage, earlier: Sequence[str], contents: ContentHashes) -> ChainStage:
    def progress(folder: Path) -> str:
        finished = sorted(folder.glob(f"{CHECKPOINTS}/step_*"))
        return f"step {int(finished[-1].name.removeprefix('step_'))} of {stage.iterations}" if finished else ""

    return ChainStage(
        name=stage.name,
        version=TRAINING_VERSION,
        reads=config_keys.of_training(config, stage, contents),
        inputs=(PREPROCESS, *earlier),
        run=_trainer(stage, earlier),
        required_outputs=tuple(f"{WEIGHTS}/{part}.safetensors" for part in stage.trains),
        temporary_outputs=(CHECKPOINTS, RAY_FOLDER),
        progress_of=progress,
    )


def _trainer(stage: Stage, earlier: Sequence[str]) -> Callable[[StageRun], dict[str, float]]:
    def train(run: StageRun) -> dict[str, float]:
        from orchestration.train import train_on_ray

        values = train_on_ray(
            TrainingRun(
                config=run.config,
                stage=stage.name,
                store=run.store,
                folder=str(run.folder),
                weights=weights_folders(run, earlier),
                fingerprint=run.fingerprint,
            ),
            run.show,
        )
        for part in stage.trains:
            run.journal.artifact(f"{WEIGHTS}/{part}.safetensors", WEIGHTS)
        return values

    return train


def weights_folders(run: StageRun, stages: Sequence[str]) -> tuple[str, ...]:
    """Folders of the weights of some training stages, in that order."""
    return tuple(str(run.inputs[name] / WEIGHTS) for name in stages)


def _results(config: Config, trained: Sequence[str], contents: ContentHashes) -> tuple[ChainStage, ...]:
    """The stages after training."""
    inputs = (PREPROCESS, *trained)
    return (
        ChainStage(
            name=EVALUATE,
            version=EVALUATION_VERSION,
            reads=config_keys.of_evaluate(config, contents),
            inputs=inputs,
            run=_evaluate,
            required_outputs=(SUMMARY,),
        ),
        ChainStage(
            name=EXPORT,
            version=EXPORT_VERSION,
            reads=config_keys.of_export(config, contents),
            inputs=inputs,
            run=_export,
            required_outputs=(MODEL_NOTE,),
        ),
        ChainStage(
            name=REGISTER,
            version=REGISTER_VERSION,
            reads={"name": REGISTERED_MODEL},
            inputs=(EVALUATE, EXPORT),
            run=_register,
            tracked=True,
            uses_cluster=False,
        ),
        ChainStage(
            name=SAMPLE,
            version=SAMPLE_VERSION,
            reads=config_keys.of_sample(config),
            inputs=(PREPROCESS, EXPORT),
            run=_sample,
            required_outputs=(SAMPLE_VIDEO,),
        ),
    )


# Imported when they are called: the networks take seconds to import, which a plan need not wait for.


def _evaluate(run: StageRun) -> dict[str, float]:
    from orchestration.stages.evaluate import evaluate

    return evaluate(run)


def _export(run: StageRun) -> dict[str, float]:
    from orchestration.stages.export import export

    return export(run)


def _register(run: StageRun) -> dict[str, float]:
    from orchestration.stages.register import register

    return register(run)


def _sample(run: StageRun) -> dict[str, float]:
    from orchestration.stages.sample import sample

    return sample(run)
