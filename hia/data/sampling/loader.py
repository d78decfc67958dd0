"""Batches of samples in exact order, read ahead by worker processes that may die."""

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

# Seconds of waiting for a batch from one look at the workers to the next.
LOOK_EVERY = 0.5

logger = logging.getLogger(__name__)


def collate(samples: Sequence[Sample]) -> Sample:
    """Samples of one stage stacked, each tensor [B, ...]; in a worker process it lies in shared memory."""
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
    """A batch for each sequence of positions, in their order; `positions` may be endless.

    workers: processes that read ahead, `prefetch` batches each; 0 reads in this process. A thread receives the next
    batch, and iterates over `positions`. When a worker dies (killed, out of memory), a warning is logged, and reading
    goes on with the first batch that was not handed out, at first by one new worker alone: none is lost and none comes
    twice. The first start in a process takes as long as importing torch, later ones a fraction of a second.

    Raises what reading a sample raises (ValueError and OSError, naming the file) when it is that batch's turn, and
    RuntimeError naming its clips when workers still die over the same batch after `most_restarts` new starts.
    """
    if workers == 0:
        yield from (collate([samples[position] for position in batch]) for batch in positions)
        return
    reader = _from_workers(samples, positions, workers, prefetch, most_restarts)
    # To receive a batch takes some milliseconds, for which a training step would wait.
    with closing(reader), ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, reader, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, reader, None)
            yield batch


def _from_workers(
    samples: TrainingSamples, positions: Iterable[Sequence[int]], workers: int, prefetch: int, most_restarts: int
) -> Generator[Sample, None, None]:
    """`sample_batches`, received when asked for."""
    under_way = _UnderWay(positions)
    deaths = 0
    while True:
        # A dying worker takes with it what it had finished before: alone, a batch is blamed for itself only.
        whole = deaths == 0
        loaded = _start(samples, under_way if whole else [under_way.batches[0]], workers if whole else 1, prefetch)
        while not isinstance(result := _next(loaded), _Death | _End):
            if isinstance(result, _Failure):
                del loaded  # or the error's traceback would keep the workers
                raise result.error
            deaths = 0
            under_way.batches.popleft()
            yield result
        del loaded  # ends the workers that are left
        if isinstance(result, _Death):
            deaths += 1
            if deaths > most_restarts:
                raise RuntimeError(_hopeless(samples, under_way.batches[0], result))
            logger.warning("%s; reading goes on with new workers", result.message)
        elif whole:
            return


class _UnderWay:
    """Positions on their way through the workers: each iteration begins with the first that did not come back."""

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
    """What reading a batch raised, on its way to the process that asked for it."""

    error: Exception


@dataclass(frozen=True)
class _Death:
    """A worker process ended that should not have."""

    message: str


class _End:
    """There are no more batches."""


class _Batches(Dataset[Any]):
    """Reads whole batches, in a worker. Errors travel as values: torch would bury their message in a traceback."""

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
    # Not forked from this process, which has threads and perhaps a GPU in use, and not its children either: torch would
    # raise an error in whatever code runs in the moment when its child dies.
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
    """The next result. A death is a value, for an exception would keep the dead workers' queues."""
    while True:
        try:
            return next(loaded, _End())
        except (OSError, EOFError) as error:
            # Between announcing a batch and handing over its memory.
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
    # There are as many workers as are wanted; torch takes care of its own threads.
    cv2.setNumThreads(1)


def _stacked(parts: Sequence[Any], leave: Sequence[str] = ()) -> dict[str, Any]:
    """Each field of equal dataclasses as one tensor; None where it is None."""
    names = [field.name for field in fields(parts[0]) if field.name not in leave]
    absent = {name for name in names if getattr(parts[0], name) is None}
    return {
        name: None if name in absent else default_collate([getattr(part, name) for part in parts]) for name in names
    }
