"""The export stage: a model directory of the trained weights."""

from dataclasses import replace

from hia.config import Config
from hia.data.store.clip_store import open_store
from hia.models.animation_model import load_model, save_model
from orchestration.chain.stage import StageRun
from orchestration.names import MODEL
from orchestration.stages.trained_model import trained_model, trained_weights


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
