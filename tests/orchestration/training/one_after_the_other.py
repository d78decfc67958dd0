"""Several trainings by the same workers of torchrun, whose start takes longer than what tests train: RUN.json …"""

import json
import os
import sys
from pathlib import Path

from orchestration.names import JOURNAL
from orchestration.tracking.journal import JournalWriter
from orchestration.train import from_json
from orchestration.training.distributed import process_group
from orchestration.training.loop import train_in_process


def main() -> None:
    """Train what the files describe, one after the other."""
    runs = [from_json(json.loads(Path(file).read_text(encoding="utf-8"))) for file in sys.argv[1:]]
    first = os.environ["RANK"] == "0"
    with process_group(runs[0]):
        for run in runs:
            train_in_process(run, JournalWriter(run.path / JOURNAL) if first else None)


if __name__ == "__main__":
    main()
