"""The Ray cluster that the tests share."""

from collections.abc import Iterator

import pytest

from tests.conftest import PATIENT_RAY, REPOSITORY

NOT_FOR_WORKERS = ("HIA_WEIGHTS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray cluster on this machine, of four CPUs, for all tests of the group `ray`: a start takes seconds.

    Its workers find this repository; they begin in another folder than the driver and have its weights and tracking
    server only where the driver tells them. This process is connected to it.
    """
    import ray

    from orchestration.cluster import silence_ray

    quiet = silence_ray()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (PATIENT_RAY | {"PYTHONPATH": str(REPOSITORY)}).items():
            patch.setenv(name, value)
        for name in NOT_FOR_WORKERS:
            patch.delenv(name, raising=False)
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        context = ray.init(
            address="local", num_cpus=4, object_store_memory=200_000_000, include_dashboard=False, **quiet
        )
    yield context.address_info["address"]
    ray.shutdown()
