"""`hia build` refuses what `hia animate` would refuse later."""

from hia.cli import main
from tests.conftest import TINY, TINY_CONFIG

V_PREDICTION = ("schedule.prediction_type=v_prediction", "schedule.zero_terminal_snr=true")


def build(folder, *changes):
    settings = [option for change in (*TINY, *changes) for option in ("--set", change)]
    return main(["build", str(TINY_CONFIG), "--output", str(folder / "model"), *settings])


def test_a_scheduler_that_cannot_sample_the_configured_noise_schedule_is_refused_before_anything_is_written(
    tmp_path, capsys
):
    assert build(tmp_path, *V_PREDICTION, "sampling.scheduler=HeunDiscreteScheduler") == 2
    assert "HeunDiscreteScheduler cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_same_scheduler_is_taken_where_the_schedule_permits_it(tmp_path):
    assert build(tmp_path, "sampling.scheduler=HeunDiscreteScheduler") == 0
    assert build(tmp_path, *V_PREDICTION, "sampling.scheduler=DDIMScheduler", "sampling.steps=2") == 2, "it exists"
