"""The summary at the end of a run."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestration.chain import Executed
from orchestration.chain.execute import format_duration
from orchestration.pipeline import end_summary, metrics_table

METRICS = {
    **{"psnr": 18.25, "ssim": 0.71, "l1": 0.04, "l1_disco": 3e-5},
    **{"repeat_reference/psnr": 15.5, "repeat_reference/ssim": 0.6, "repeat_reference/l1": 0.09},
    **{"repeat_reference/l1_disco": 4e-5, "codec_cap/psnr": 21.0},
}


@dataclass(frozen=True)
class Parent:
    """A tracking run, as far as the summary is concerned."""

    url: str = "http://tracking/run"


def executed(folder: Path, *names: str, action: str = "run") -> list[Executed]:
    metrics = {"evaluate": METRICS}
    return [Executed(name, action, folder / name, metrics.get(name, {}), 75.0, None) for name in names]  # type: ignore[arg-type]


def test_metrics_are_told_beside_those_of_repeating_the_reference() -> None:
    header, ours, baseline = metrics_table(METRICS).splitlines()
    assert header.split() == ["on", "held-out", "clips", "psnr", "ssim", "l1", "l1_disco"]
    assert ours.split()[-4:] == ["18.25", "0.71", "0.04", "3e-05"]
    assert baseline.startswith("repeat the reference") and "15.5" in baseline


def test_a_row_without_all_metrics_is_left_out() -> None:
    assert "cap" not in metrics_table(METRICS)


def test_metrics_of_clips_that_were_trained_on_say_so() -> None:
    trained = {f"split_train/{name}": value for name, value in METRICS.items()}
    assert metrics_table(trained).startswith("on clips that it was trained on")


def test_the_commands_name_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "sample_side_by_side.mp4").touch()
    told = end_summary(executed(tmp_path, "evaluate", "export", "register", "sample"), Parent(), tmp_path)  # type: ignore[arg-type]
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db" in told
    assert f"hia animate --model {tmp_path}/export/model" in told
    assert "mlflow models serve -m models:/hia/latest" in told
    assert f"{tmp_path}/sample/sample_side_by_side.mp4" in told
    assert "http://tracking/run" in told


def test_serving_is_offered_only_for_a_registered_model(tmp_path: Path) -> None:
    assert "serve" not in end_summary(executed(tmp_path, "export"), Parent(), tmp_path)  # type: ignore[arg-type]


def test_a_tracking_server_needs_no_command_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert "mlflow ui" not in end_summary(executed(tmp_path, "export"), Parent(), tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seconds", "said"), [(0.04, "0.0 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")])
def test_durations_are_told_in_words(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said
