"""Training of one stage on a Ray cluster: Ray Train starts the workers, and restarts them when one is lost.

python -m orchestration.train RUN.json     the same without Ray: one process, or torchrun's
"""

import dataclasses
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hia.config import Config, parse_config
from hia.io.files import write_bytes
from orchestration.cluster import check_resources, worker_environment
from orchestration.names import JOURNAL
from orchestration.tracking.journal import JournalWriter, Metrics, read_new
from orchestration.training.run import RAY_FOLDER, TrainingFailed, TrainingRun

# Errors that no restart can mend: raised again here, with their message, instead of another attempt by Ray.
FINAL = (TrainingFailed, ValueError, FileNotFoundError, PermissionError, NotADirectoryError)


def train_on_ray(run: TrainingRun, show: bool = True) -> dict[str, float]:
    """Train a stage with the workers of `run.config.training`; returns its last values.

    show: a line of progress. Ray must be connected. Raises TrainingFailed for errors that a restart cannot mend, or
    when too many workers were lost, ValueError when the cluster has no room for the workers.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    training = run.config.training
    resources = {"CPU": training.cpus_per_worker, "GPU": training.gpus_per_worker}
    check_resources(training.workers, resources, training.accelerator_type)
    note = run.path / f".failed.{uuid.uuid4().hex}"
    trainer = TorchTrainer(
        _worker,  # type: ignore[arg-type]
        train_loop_config={"run": run, "note": str(note)},
        torch_config=TorchConfig(
            backend="nccl" if training.gpus_per_worker else "gloo", timeout_s=int(training.timeout_minutes * 60)
        ),
        scaling_config=ScalingConfig(
            num_workers=training.workers,
            use_gpu=bool(training.gpus_per_worker),
            resources_per_worker={name: amount for name, amount in resources.items() if amount},
            accelerator_type=training.accelerator_type,
        ),
        run_config=RunConfig(
            name=f"{run.stage}-{run.fingerprint[:12] or 'run'}",
            storage_path=str(run.path / RAY_FOLDER),
            failure_config=FailureConfig(max_failures=training.most_failures),
            worker_runtime_env=worker_environment(),  # type: ignore[call-arg]
        ),
    )
    try:
        with _progress(run, show):
            answer = _fit(trainer, run, note)
    finally:
        note.unlink(missing_ok=True)
    if "failed" in answer:
        raise TrainingFailed(answer["failed"])
    return answer["values"]


def _fit(trainer: Any, run: TrainingRun, note: Path) -> dict[str, Any]:
    from ray.train import TrainingFailedError

    try:
        return trainer.fit().return_value
    except TrainingFailedError as error:
        if note.is_file():
            return {"failed": note.read_text(encoding="utf-8")}
        reasons = getattr(error, "worker_failures", {}) or {0: error}
        causes = "\n".join(f"worker {rank}: {str(reason).strip()[-1500:]}" for rank, reason in reasons.items())
        raise TrainingFailed(
            f"stage {run.stage}: workers failed more often than training.most_failures="
            f"{run.config.training.most_failures} allows. The last time:\n{causes}"
        ) from None


def _worker(values: dict[str, Any]) -> dict[str, Any]:
    """Train in a worker process; the same for all stages."""
    import ray.train

    run, note = values["run"], Path(values["note"])
    if note.is_file():
        return {"failed": note.read_text(encoding="utf-8")}
    if not run.config.training.gpus_per_worker:
        torch.set_num_threads(run.config.training.cpus_per_worker)
    first = ray.train.get_context().get_world_rank() == 0
    try:
        from orchestration.training.loop import train_stage

        return {"values": train_stage(run, JournalWriter(run.path / JOURNAL) if first else None)}
    except FINAL as error:
        # Left for the next start, which ends at once: the others may wait for this worker, so it cannot just return.
        write_bytes(note, (str(error) or repr(error)).encode())
        raise


def to_json(run: TrainingRun) -> dict[str, Any]:
    """Serialise a run as plain values, for RUN.json."""
    return json.loads(json.dumps(dataclasses.asdict(run)))


def from_json(values: dict[str, Any]) -> TrainingRun:
    """Read a run from plain values. Raises ConfigError for an invalid configuration."""
    config: Config = parse_config(values["config"])
    return TrainingRun(**(values | {"config": config, "weights": tuple(values["weights"])}))


# ------------------------------------------------------------------------------------------------------ progress


@contextmanager
def _progress(run: TrainingRun, show: bool) -> Iterator[None]:
    """One live line: steps, loss, samples per second, remaining time, from what the first worker writes."""
    if not show:
        yield
        return
    done = threading.Event()
    bar = tqdm(total=run.settings.iterations, desc=run.stage, unit="step", mininterval=0.5, dynamic_ncols=True)
    thread = threading.Thread(target=_follow, args=(run.path / JOURNAL, bar, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        bar.close()


def _follow(path: Path, bar: tqdm, done: threading.Event) -> None:
    offset, last = 0, False
    while True:
        last = done.is_set()
        entries, offset = read_new(path, offset)
        for entry in entries:
            if isinstance(entry, Metrics) and "samples_per_second" in entry.values:
                rate = entry.values["samples_per_second"]
                if bar.n == 0:
                    bar.unpause()  # the workers' start is no part of the steps' rate
                bar.set_postfix_str(f"loss {entry.values['loss']:.4f}, {rate:.1f} samples/s")
                bar.update(max(0, entry.step - bar.n))
        if last:
            return
        done.wait(0.5)


def main() -> int:
    """Train one stage from a file of `to_json` values."""
    from orchestration.training.loop import train_in_process

    if len(sys.argv) != 2:
        print("usage: python -m orchestration.train RUN.json", file=sys.stderr)
        return 2
    run = from_json(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    run.path.mkdir(parents=True, exist_ok=True)
    first = int(os.environ.get("RANK", 0)) == 0
    try:
        values = train_in_process(run, JournalWriter(run.path / JOURNAL) if first else None)
    except FINAL as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    if first:
        print(json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
