"""Names of a run's stages, files and folders, and the tracking database's address: plain values, imported at once.

The modules that do the work take seconds to import; modules that only name their files import this one.
"""

from pathlib import Path

from hia.config import Config

# Stages of the chain, besides those of training, whose names are those of the configuration's `stages`.
DANCERS, PREPROCESS = "dancers", "preprocess"
EVALUATE, EXPORT, REGISTER, SAMPLE = "evaluate", "export", "register", "sample"

# Notes of the chain in a stage's folder: what began, what it came to, what it measured, how much of that was sent.
STAGE_NOTE, DONE_NOTE, JOURNAL, SENT_NOTE = "stage.json", "done.json", "journal.jsonl", "journal.sent.json"
# Hashes of weights that were read before, in the storage.
CONTENT_HASHES = ".contents.json"

# Results of stages, in their folders.
VIDEOS = "videos"
STORE, STORE_NOTE, SEEN_NOTE = "store", "store.json", "seen.json"
SUMMARY, CONTACT_SHEET, REPORT = "summary.json", "contact_sheet.png", "report.html"
MODEL, MODEL_NOTE = "model", "model/hia.json"
SAMPLE_VIDEO, SAMPLE_SIDE_BY_SIDE = "sample.mp4", "sample_side_by_side.mp4"

# In MLflow's model registry.
REGISTERED_MODEL = "hia"


def stage_names(config: Config) -> tuple[str, ...]:
    """Names of the stages of a configuration's chain, in order, without the stages themselves."""
    first = () if config.data is not None else (DANCERS,)
    training = (stage.name for stage in config.stages.in_order())
    return (*first, PREPROCESS, *training, EVALUATE, EXPORT, REGISTER, SAMPLE)


def tracking_database(storage: Path) -> Path:
    """File of the tracking database that is used where no server is configured."""
    return storage / "mlflow.db"
