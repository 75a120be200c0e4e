from types import SimpleNamespace

import pytest

from reward.types import Reward
from rl.algorithms import make_algorithm
from rl.clock import Clock
from rl.collect import collect
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

POLICY = PolicyVersion(0, "")


class Data:
    def batch(self, cursor: int, size: int) -> list[Prompt]:
        return [Prompt(f"train/0/{i}", "", (1,), {}) for i in range(cursor, cursor + size)]


class Pool:
    def generate(self, prompts, sampling, group_size):
        return [
            RolloutGroup(p, tuple(Rollout(p.id, s, (1,), (0.0,), "", False) for s in range(group_size)), POLICY)
            for p in prompts
        ]


class Rubric:
    """A group's rewards differ where its prompt's number is one of `informative`."""

    def __init__(self, informative):
        self.informative = informative

    def score(self, groups):
        return [(Reward(0.0, {}), Reward(float(self._number(g) in self.informative), {})) for g in groups]

    @staticmethod
    def _number(group: RolloutGroup) -> int:
        return int(group.prompt.id.split("/")[-1])


def run(informative, algorithm="dapo", params=None, max_rounds=3):
    config = SimpleNamespace(
        data=SimpleNamespace(num_prompts=4), rollout=SimpleNamespace(group_size=2, max_rounds=max_rounds)
    )
    return SimpleNamespace(
        config=config,
        train_data=Data(),
        pool=Pool(),
        rubric=Rubric(informative),
        sampling=None,
        algorithm=make_algorithm(algorithm, {"dynamic_sampling": True} if params is None else params),
    )


def numbers(collected) -> list[int]:
    return [int(group.group.prompt.id.split("/")[-1]) for group in collected.groups]


def test_without_dynamic_sampling_one_round_is_the_batch() -> None:
    collected = collect(run(set(), "grpo", {}), 8, Clock())
    assert numbers(collected) == [8, 9, 10, 11] and collected.num_prompts == 4


def test_groups_with_nothing_to_learn_from_are_replaced_by_later_ones() -> None:
    collected = collect(run({1, 3, 5, 6, 7}), 0, Clock())
    assert numbers(collected) == [1, 3, 5, 6] and collected.num_prompts == 8


def test_after_the_last_round_the_batch_is_filled_with_what_was_dropped_first() -> None:
    collected = collect(run({9}, max_rounds=3), 0, Clock())
    assert numbers(collected) == [9, 0, 1, 2] and collected.num_prompts == 12


@pytest.mark.parametrize("cursor", [0, 4, 40])
def test_the_same_cursor_gives_the_same_batch(cursor: int) -> None:
    every_third = set(range(0, 100, 3))
    assert collect(run(every_third), cursor, Clock()) == collect(run(every_third), cursor, Clock())


def test_rounds_add_up_in_the_laps_of_the_clock() -> None:
    clock = Clock()
    collect(run({9}), 0, clock)
    assert set(clock.laps_s) == {"sample", "score"}
    assert clock.total_s == pytest.approx(sum(clock.laps_s.values()))
