"""Training on Ray: lost workers and machines are replaced, hopeless runs end with their reason."""

import threading
import time
from dataclasses import replace

import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from hia.config import TrainingConfig
from hia.models.parts import part_parameters
from orchestration.cluster import silence_ray
from orchestration.train import train_on_ray
from orchestration.training.run import TrainingFailed, TrainingRun
from orchestration.training.weights import write_weights
from tests.orchestration.trained_run import random_animator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("machines")]


@pytest.fixture(scope="module")
def cluster():
    """Three machines of one CPU, on this one; the first is the head. One of the others may go away."""
    quiet = silence_ray()
    ray.shutdown()  # of the cluster that others share: the group `machines` comes after the group `ray`
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    machines.spare = [machines.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
    ray.init(address=machines.address, **quiet)
    yield machines
    ray.shutdown()
    machines.shutdown()


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    files = sorted((run.path / "weights").iterdir())
    return {f"{file.stem}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def on_two_machines(run: TrainingRun) -> TrainingRun:
    """With two workers that cannot share a machine."""
    training: TrainingConfig = replace(run.config.training, workers=2, checkpoint_every=2)
    return replace(run, config=replace(run.config, training=training))


def machine_of_a_worker(machines: Cluster) -> object | None:
    """One of the machines, not the head, on which a worker trains."""
    busy = {actor["NodeID"] for actor in _actors() if "RayTrainWorker" in actor["ClassName"]}
    return next((node for node in machines.spare if node.node_id in busy), None)


def _actors() -> list[dict[str, str]]:
    from ray.util.state import list_actors

    found = list_actors(filters=[("state", "=", "ALIVE")])
    return [{"NodeID": actor.node_id, "ClassName": actor.class_name} for actor in found]


def test_a_machine_that_goes_away_is_replaced_and_changes_nothing(a_run, cluster):
    undisturbed = on_two_machines(a_run("stages.spatial.iterations=8", name="undisturbed"))
    train_on_ray(undisturbed, show=False)
    run = on_two_machines(a_run("stages.spatial.iterations=8", name="disturbed"))
    lost = []

    def pull_the_plug() -> None:
        while not any((run.path / "checkpoints").glob("step_*")):
            time.sleep(0.05)
        lost.append(machine_of_a_worker(cluster))
        cluster.remove_node(lost[0], allow_graceful=False)

    thread = threading.Thread(target=pull_the_plug)
    thread.start()
    train_on_ray(run, show=False)
    thread.join()
    assert lost[0] is not None
    ours, expected = weights(run), weights(undisturbed)
    assert ours.keys() == expected.keys() and all(torch.equal(ours[name], expected[name]) for name in expected)


def test_what_no_restart_can_mend_ends_with_its_reason(a_run, cluster, tmp_path):
    sick = tmp_path / "weights"
    run = a_run(weights=(str(sick),))
    unet = dict(part_parameters(random_animator(run.config), "unet"))
    unet["unet.conv_out.bias"].data.fill_(float("nan"))
    write_weights(sick, {"unet": {name: parameter.detach() for name, parameter in unet.items()}})
    with pytest.raises(TrainingFailed, match=r"step 0: the loss is not finite. Samples: [0-9a-f]"):
        train_on_ray(run, show=False)
    assert not list(run.path.glob(".failed*"))


def test_workers_for_whom_there_is_no_room_are_refused_at_once(a_run, cluster):
    run = a_run("training.workers=2", "training.cpus_per_worker=3")
    begin = time.monotonic()
    with pytest.raises(ValueError, match="room for 0 of 2 workers: one needs 3 CPUs"):
        train_on_ray(run, show=False)
    assert time.monotonic() - begin < 600, "Ray itself would wait for ever"
