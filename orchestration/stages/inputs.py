"""The input stages: generated dancers, and a clip store that is up to date with its videos."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hia.config import Config
from hia.data.ingest.layouts import find_videos_in_layout
from hia.data.store.clip_store import ClipStore, open_store
from hia.io.files import write_json
from hia.pose.estimators import model_files
from orchestration.chain.stage import StageRun, store_of
from orchestration.names import DANCERS, SEEN_NOTE, STORE, STORE_NOTE, VIDEOS
from orchestration.preflight import check_store
from orchestration.stages.config_keys import updating
from orchestration.stages.content_hashes import content_states

if TYPE_CHECKING:
    from hia.data.preprocess.build_store import Built, Runner

# Reasons for leaving out a video that another attempt will not change.
LASTING = ("missing", "unreadable", "unreadable_folder", "broken_symlink", "symlink_loop", "not_a_file", "no_frames")


def write_dancer_videos(run: StageRun) -> dict[str, float]:
    """Render the dancers that the folder lacks."""
    from hia.synthetic import write_dancers

    wanted, config = run.config.dancers, run.config
    videos = write_dancers(
        run.folder / VIDEOS,
        wanted.count,
        seconds=wanted.seconds,
        width=config.width,
        height=config.height,
        fps=wanted.fps,
        seed=wanted.seed,
        progress=run.show,
    )
    return {"videos": len(videos)}


def use_store(run: StageRun) -> dict[str, float]:
    """Use the configured clip store as it is. Raises StoreError when it is damaged or has nothing to train on."""
    location = str(run.config.data)
    store = open_store(location, check="size", progress=run.show)
    return _note(run, store, location, {"videos": len({clip.video for clip in store.clips})})


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of the run's videos into a clip store, or of what a store lacks of them.

    runner: runs the jobs; None for the cluster, with the GPUs that training has.
    """

    config: Config
    runner: "Runner | None" = None

    def run(self, run: StageRun) -> dict[str, float]:
        """Preprocess the videos that are not done. Raises what `build_store` does, and ChainError without clips."""
        from hia.data.preprocess.build_store import build_store
        from orchestration.preprocess import RayRunner

        gpus = self.config.training.gpus_per_worker
        # Before the work, so that changes during it are noticed next time.
        seen = self._current_state(self._videos(run.inputs))
        built = build_store(
            [self._videos(run.inputs)],
            str(run.folder / STORE),
            self.config,
            self.runner or RayRunner(gpus=gpus),
            device="cuda" if gpus else "cpu",
            threads=1,
            progress=run.show,
        )
        metrics = _note(run, built.store, STORE, {"videos": built.num_videos, "done_before": built.done_before})
        write_json(run.folder / SEEN_NOTE, seen | {"again": _to_be_tried_again(built)})
        return metrics

    def outdated(self, folder: Path, inputs: Mapping[str, Path]) -> str | None:
        """Describe the changes since the store was made; None when it is up to date."""
        try:
            before = json.loads((folder / SEEN_NOTE).read_text(encoding="utf-8"))
            open_store(store_of(folder), check="size")
        except (OSError, ValueError) as error:
            return f"the store is damaged ({str(error).splitlines()[0]})"
        return _differences(before, self._current_state(self._videos(inputs)))

    def _videos(self, inputs: Mapping[str, Path]) -> str:
        return self.config.data if self.config.data is not None else str(inputs[DANCERS] / VIDEOS)

    def _current_state(self, videos: str) -> dict[str, Any]:
        """The state of the videos, files and settings with which the store is kept up to date."""
        wanted = self.config.preprocess
        try:
            sources = find_videos_in_layout([videos], wanted.layout, maps=wanted.maps).sources
        except ValueError:
            sources = ()  # preprocessing says what is wrong
        places = (
            (one.name, [one.location, *([one.sidecar] if one.sidecar else []), *(place for _, place in one.maps)])
            for one in sources
        )
        settings = updating(self.config)["preprocess"]
        settings |= {f"pose.{key}": value for key, value in settings.pop("pose").items()}
        files = [*([wanted.test_list] if wanted.test_list else []), *model_files(wanted.pose)]
        settings["files"] = content_states([("files", files)])
        return {"videos": content_states(places), "settings": settings}


def _note(run: StageRun, store: ClipStore, location: str, counts: dict[str, float]) -> dict[str, float]:
    """Write the note of the store's location and its statistics; returns the stage's metrics."""
    statistics = store.statistics
    write_json(run.folder / "statistics.json", statistics)
    run.journal.artifact("statistics.json", "data")
    check_store(store)
    write_json(run.folder / STORE_NOTE, {"location": location, "fingerprint": store.fingerprint})
    by_split = {f"clips_{split}": float(len(store.of_split(split))) for split in ("train", "test")}
    return {name: float(count) for name, count in counts.items()} | by_split | {"minutes": statistics["hours"] * 60}


def store_fingerprint(folder: Path) -> str:
    """Fingerprint of the store's present content. Raises OSError or ValueError when it is not there any more."""
    return open_store(store_of(folder), check="none").fingerprint


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Describe the changes since the store was made; None for none. Videos that are gone stay in the store."""
    known = before["videos"]
    changed = [name for name, state in known.items() if now["videos"].get(name, state) != state]
    counts = {"new": len(now["videos"].keys() - known), "changed": len(changed), "to be tried again": before["again"]}
    videos = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    settings = [key for key, value in now["settings"].items() if value != before["settings"].get(key)]
    changes = [f"videos: {videos}"] if videos else []
    return "; ".join(changes + [f"preprocess.{key} has changed" for key in settings]) or None


def _to_be_tried_again(built: "Built") -> int:
    """Count the videos that failed for reasons that may pass."""
    return len({one.video for one in built.retriable if one.reason not in (*LASTING, "duplicate")})
