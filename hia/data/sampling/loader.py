"""Data loader: batches of samples in exact order, read ahead by worker processes that are replaced when they die."""

import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

import cv2
from torch import multiprocessing
from torch.utils.data import DataLoader, Dataset, default_collate

from hia.data.sampling.dataset import TrainingSamples
from hia.data.sampling.sample import Regions, Sample

# Seconds between checks that the workers are alive, while a batch is awaited.
LOOK_EVERY = 0.5

logger = logging.getLogger(__name__)


def collate(samples: Sequence[Sample]) -> Sample:
    """Stack samples of one stage, each tensor [B, ...]; in a worker process it lies in shared memory."""
    regions = [sample.regions for sample in samples if sample.regions is not None]
    return Sample(
        sample_ids=tuple(name for sample in samples for name in sample.sample_ids),
        regions=Regions(**_stacked(regions)) if regions else None,
        **_stacked(samples, leave=("sample_ids", "regions")),
    )


def sample_batches(
    samples: TrainingSamples,
    positions: Iterable[Sequence[int]],
    workers: int,
    prefetch: int = 2,
    most_restarts: int = 3,
) -> Iterator[Sample]:
    """Yield a batch for each sequence of positions, in their order; `positions` may be endless.

    workers: processes that read ahead, `prefetch` batches each; 0 reads in this process. A thread receives the next
    batch, and iterates over `positions`. When a worker dies (killed, out of memory), a warning is logged, and reading
    resumes with the first batch that was not yielded yet, at first with a single new worker: no batch is lost and none
    comes twice. The first start in a process takes as long as importing torch, later ones a fraction of a second.

    Raises the errors of reading a sample (ValueError and OSError, naming the file) in that batch's turn, and
    RuntimeError naming the batch's clips when workers still die reading it after `most_restarts` restarts.
    """
    if workers == 0:
        yield from (collate([samples[position] for position in batch]) for batch in positions)
        return
    reader = _from_workers(samples, positions, workers, prefetch, most_restarts)
    # Receiving a batch takes some milliseconds; without the thread a training step would wait for them.
    with closing(reader), ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, reader, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, reader, None)
            yield batch


def _from_workers(
    samples: TrainingSamples, positions: Iterable[Sequence[int]], workers: int, prefetch: int, most_restarts: int
) -> Generator[Sample, None, None]:
    """Yield the batches of `sample_batches`, each received on demand."""
    under_way = _UnderWay(positions)
    deaths = 0
    while True:
        # A dying worker takes batches with it that it had finished. After a death, one worker reads only the first
        # missing batch, so that further deaths are counted against the batch that causes them.
        whole = deaths == 0
        loaded = _start(samples, under_way if whole else [under_way.batches[0]], workers if whole else 1, prefetch)
        while not isinstance(result := _next(loaded), _Death | _End):
            if isinstance(result, _Failure):
                del loaded  # else the error's traceback would keep the workers alive
                raise result.error
            deaths = 0
            under_way.batches.popleft()
            yield result
        del loaded  # ends the remaining workers
        if isinstance(result, _Death):
            deaths += 1
            if deaths > most_restarts:
                raise RuntimeError(_hopeless(samples, under_way.batches[0], result))
            logger.warning("%s; reading goes on with new workers", result.message)
        elif whole:
            return


class _UnderWay:
    """Positions in progress in the workers: each iteration begins with the first one whose batch has not arrived."""

    def __init__(self, positions: Iterable[Sequence[int]]) -> None:
        self._new = iter(positions)
        self.batches: deque[Sequence[int]] = deque()

    def __iter__(self) -> Iterator[Sequence[int]]:
        yield from tuple(self.batches)
        for batch in self._new:
            self.batches.append(batch)
            yield batch


@dataclass(frozen=True)
class _Failure:
    """An error of reading a batch, passed as a value from a worker to the main process."""

    error: Exception


@dataclass(frozen=True)
class _Death:
    """The unexpected end of a worker process."""

    message: str


class _End:
    """The end of the batches."""


class _Batches(Dataset[Any]):
    """A dataset of whole batches, read in a worker.

    Errors are returned as values, because torch would replace them by one whose message is a whole traceback.
    """

    def __init__(self, samples: TrainingSamples) -> None:
        self.samples = samples

    def __getitems__(self, positions: Sequence[int]) -> Sample | _Failure:
        try:
            return collate([self.samples[position] for position in positions])
        except Exception as error:
            return _Failure(error)


def _start(
    samples: TrainingSamples, positions: Iterable[Sequence[int]], workers: int, prefetch: int
) -> Iterator[Sample | _Failure]:
    # Workers are not forked from this process, because it has threads and may use a GPU. They are not its children
    # either, because torch raises an error in whatever code is running when a child of the process dies.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    loader = DataLoader(
        _Batches(samples),
        batch_sampler=positions,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=prefetch,
        collate_fn=_unchanged,
        worker_init_fn=_begin_worker,
        timeout=LOOK_EVERY,
        multiprocessing_context=context,
    )
    return iter(loader)


def _next(loaded: Iterator[Sample | _Failure]) -> Sample | _Failure | _Death | _End:
    """The next result. A death is returned as a value, because an exception would keep the dead workers' queues."""
    while True:
        try:
            return next(loaded, _End())
        except (OSError, EOFError) as error:
            # The worker died after announcing a batch and before passing its shared memory.
            return _Death(f"DataLoader worker died ({error})")
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                return _Death(str(error))
            if "DataLoader timed out" not in str(error):
                raise


def _hopeless(samples: TrainingSamples, positions: Sequence[int], death: _Death) -> str:
    clips = ", ".join(f"{info.id} ({info.video})" for info in map(samples.clip_at, positions))
    return (
        f"workers died again and again over the same batch, positions {list(positions)} of the clips {clips}: "
        f"{death.message}. If memory is short, lower samples.workers or the batch size"
    )


def _unchanged(batch: Any) -> Any:
    return batch


def _begin_worker(_worker: int) -> None:
    # The number of workers sets the parallelism; torch itself limits its own threads in a worker.
    cv2.setNumThreads(1)


def _stacked(parts: Sequence[Any], leave: Sequence[str] = ()) -> dict[str, Any]:
    """Each field of several instances of a dataclass, stacked to one tensor; None where the field is None."""
    names = [field.name for field in fields(parts[0]) if field.name not in leave]
    absent = {name for name in names if getattr(parts[0], name) is None}
    return {
        name: None if name in absent else default_collate([getattr(part, name) for part in parts]) for name in names
    }
