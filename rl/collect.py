"""Rollouts with their rewards for one batch, drawn in rounds until every group has something to learn from.

An algorithm that keeps every group needs one round. Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2) drops groups
and draws on; which prompts are drawn follows from the cursor alone, so that a rerun draws the same.
"""

from dataclasses import dataclass

from rl.clock import Clock
from rl.run import Session
from rl.types import RewardedGroup


@dataclass(frozen=True)
class Collected:
    """The groups of a batch, and how far the data was read for them."""

    groups: tuple[RewardedGroup, ...]
    num_prompts: int
    """Prompts drawn, those of dropped groups included."""


def collect(run: Session, cursor: int, clock: Clock) -> Collected:
    """`data.num_prompts` groups from prompt `cursor` on.

    After `rollout.max_rounds` rounds the batch is filled up with the first groups that were dropped.
    """
    wanted, num_prompts = run.config.data.num_prompts, 0
    kept: list[RewardedGroup] = []
    dropped: list[RewardedGroup] = []
    for _ in range(run.config.rollout.max_rounds):
        for group in _round(run, cursor + num_prompts, clock):
            (kept if run.algorithm.keeps(group) else dropped).append(group)
        num_prompts += wanted
        if len(kept) >= wanted:
            break
    return Collected(tuple([*kept, *dropped][:wanted]), num_prompts)


def _round(run: Session, cursor: int, clock: Clock) -> list[RewardedGroup]:
    prompts = run.train_data.batch(cursor, run.config.data.num_prompts)
    groups = run.pool.generate(prompts, run.sampling, run.config.rollout.group_size)
    clock.lap("sample")
    rewards = run.rubric.score(groups)
    clock.lap("score")
    return [RewardedGroup(group, reward) for group, reward in zip(groups, rewards, strict=True)]
