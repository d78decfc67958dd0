"""The order of samples: whole epochs, the same for every division among processes, and from any position on."""

import pickle
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hia.data.sampling.epoch_sampler import EpochSampler, positions

NUMBERS, SEEDS = st.integers(1, 200), st.integers(0, 2**63 - 1)


@given(num=NUMBERS, seed=SEEDS, epoch=st.integers(0, 10**6))
def test_every_epoch_holds_every_sample_exactly_once(num: int, seed: int, epoch: int):
    order = EpochSampler(num, seed)
    drawn = [order[position] for position in range(epoch * num, (epoch + 1) * num)]
    assert {found for found, _ in drawn} == {epoch}
    assert sorted(index for _, index in drawn) == list(range(num))


@given(num=NUMBERS, seed=SEEDS, wanted=st.lists(st.integers(0, 10**9), max_size=20))
def test_a_position_holds_the_same_sample_wherever_one_enters(num: int, seed: int, wanted: list[int]):
    order = EpochSampler(num, seed)
    assert [order[position] for position in wanted] == [EpochSampler(num, seed)[position] for position in wanted]


def test_epochs_and_seeds_give_different_orders():
    def epoch(seed: int, number: int) -> list[int]:
        order = EpochSampler(100, seed)
        return [order[position][1] for position in range(100 * number, 100 * (number + 1))]

    orders = [epoch(0, 0), epoch(0, 1), epoch(1, 0), list(range(100))]
    assert all(one != other for number, one in enumerate(orders) for other in orders[:number])


def test_memory_does_not_grow_with_epochs():
    order = EpochSampler(1000, seed=0)
    early = order[0], len(pickle.dumps(vars(order)))
    for epoch in range(50):
        order[1000 * epoch]
    assert len(pickle.dumps(vars(order))) < 3 * early[1]
    assert order[0] == early[0]


def test_the_order_travels_to_other_processes_without_its_permutations():
    order = EpochSampler(10**5, seed=3)
    expected = order[12345]
    assert len(pickle.dumps(order)) < 1000
    assert pickle.loads(pickle.dumps(order))[12345] == expected


@given(
    step=st.integers(0, 10**6),
    micro_batch=st.integers(1, 4),
    accumulation=st.integers(1, 4),
    doublings=st.integers(0, 3),
)
def test_a_global_batch_holds_the_same_samples_for_every_world_size(
    step: int, micro_batch: int, accumulation: int, doublings: int
):
    def global_batch(world_size: int, accumulation: int) -> list[int]:
        parts = [positions(step, rank, world_size, micro_batch, accumulation) for rank in range(world_size)]
        return sorted(chain.from_iterable(chain.from_iterable(parts)))

    size = micro_batch * accumulation * 2**doublings
    expected = list(range(step * size, (step + 1) * size))
    assert global_batch(2**doublings, accumulation) == expected
    assert global_batch(1, accumulation * 2**doublings) == expected


def test_micro_batches_of_all_ranks_together_walk_through_the_batch_in_order():
    ranks = [positions(step=3, rank=rank, world_size=2, micro_batch=3, accumulation=2) for rank in range(2)]
    assert ranks == [[range(36, 39), range(42, 45)], [range(39, 42), range(45, 48)]]


def test_a_run_that_resumes_at_a_step_goes_on_where_it_was():
    whole = [positions(step, 1, 2, 2, 2) for step in range(10)]
    assert [positions(step, 1, 2, 2, 2) for step in range(6, 10)] == whole[6:]


@pytest.mark.parametrize(
    "wrong", [{"rank": 2}, {"rank": -1}, {"micro_batch": 0}, {"accumulation": 0}, {"step": -1}, {"world_size": 0}]
)
def test_impossible_divisions_are_refused(wrong: dict[str, int]):
    right = {"step": 0, "rank": 0, "world_size": 2, "micro_batch": 1, "accumulation": 1}
    with pytest.raises(ValueError, match="must"):
        positions(**(right | wrong))


def test_an_order_of_nothing_and_negative_positions_are_refused():
    with pytest.raises(ValueError, match="num must be at least 1"):
        EpochSampler(0, seed=0)
    with pytest.raises(IndexError, match="start at 0"):
        EpochSampler(5, seed=0)[-1]
