"""A chain of small real stages that write files, for tests of the chain.

numbers → steps → report → listed

`numbers` reads the file that preprocess.test_list names and hands on what is in it, sorted; `steps` goes through
stages.spatial.iterations steps and keeps each until it has finished; `report` adds up; `listed` has its result in the
tracking server. A file `STAGE.fails` beside the numbers makes a stage fail with its text, `STAGE.waits` makes it wait
while it is there.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hia.config import Config
from orchestration.chain import ChainStage, StageRun
from orchestration.stages.content_hashes import ContentHashes


def toy_stages(config: Config, _contents: ContentHashes | None = None) -> Sequence[ChainStage]:
    """The chain of a configuration."""
    source = Path(str(config.preprocess.test_list))
    iterations = config.stages.spatial.iterations

    def numbers(run: StageRun) -> dict[str, float]:
        _misbehave(source, "numbers")
        values = sorted(map(int, source.read_text().split()))
        (run.folder / "numbers.json").write_text(json.dumps(values))
        (run.folder / "seen").write_text(source.read_text())
        return {"count": len(values)}

    def outdated(folder: Path, _inputs: Mapping[str, Path]) -> str | None:
        return None if (folder / "seen").read_text() == source.read_text() else "the file has changed"

    def steps(run: StageRun) -> dict[str, float]:
        add = sum(json.loads((run.inputs["numbers"] / "numbers.json").read_text()))
        (run.folder / "kept").mkdir(exist_ok=True)
        for step in range(len(list(run.folder.glob("kept/step_*"))), iterations):
            (run.folder / "kept" / f"step_{step + 1}").write_text(str(add * (step + 1)))
            run.journal.metrics(step + 1, {"sum": float(add * (step + 1))})
            if step + 1 == iterations // 2:
                _misbehave(source, "steps")
        (run.folder / "result").write_text(str(add * iterations))
        return {"sum": float(add * iterations)}

    def report(run: StageRun) -> dict[str, float]:
        _misbehave(source, "report")
        (run.folder / "report").write_text(f"{config.sampling.guidance_scale} {_result(run)}")
        run.journal.artifact("report", "reports")
        return {"psnr": float(_result(run)), "repeat_reference/psnr": 1.0}

    def listed(run: StageRun) -> dict[str, float]:
        run.run.set_tags({"listed": (run.inputs["report"] / "report").read_text()})
        return {}

    return (
        _stage("numbers", {"source": str(source)}, (), numbers, ("numbers.json",), output=_content, outdated=outdated),
        _stage(
            "steps",
            {"stages": {"spatial": {"iterations": iterations}}, "seed": config.seed, "source": str(source)},
            ("numbers",),
            steps,
            ("result",),
            temporary_outputs=("kept",),
            progress_of=lambda folder: f"step {len(list(folder.glob('kept/step_*')))} of {iterations}",
        ),
        _stage(
            "report",
            {"sampling": {"guidance_scale": config.sampling.guidance_scale}},
            ("numbers", "steps"),
            report,
            ("report",),
        ),
        _stage("listed", {}, ("report",), listed, tracked=True),
    )


def _stage(
    name: str,
    reads: dict[str, object],
    inputs: tuple[str, ...],
    run: Callable[[StageRun], dict[str, float]],
    required_outputs: tuple[str, ...] = (),
    **others: object,
) -> ChainStage:
    return ChainStage(name, 1, reads, inputs, run, required_outputs, uses_cluster=False, **others)  # type: ignore[arg-type]


def _content(folder: Path) -> str:
    return hashlib.sha256((folder / "numbers.json").read_bytes()).hexdigest()


def _result(run: StageRun) -> str:
    return (run.inputs["steps"] / "result").read_text()


def _misbehave(source: Path, stage: str) -> None:
    fails, waits = source.with_name(f"{stage}.fails"), source.with_name(f"{stage}.waits")
    if fails.exists():
        raise ValueError(fails.read_text())
    source.with_name(f"{stage}.reached").touch()
    while waits.exists():
        time.sleep(0.02)


if __name__ == "__main__":
    from orchestration.run_all import main

    sys.exit(main(None, toy_stages))
