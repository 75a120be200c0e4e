"""Draws solutions, and rollouts from every place at which a reward model will read them.

questions ── num_trajectories each ──> solutions ── cut at their steps ──> prefixes
prefixes ── num_rollouts each ──> the task's own scorer ──> a reward a rollout

Every draw is keyed by what it continues: seed, question, the prefix's own tokens, the rollout's number. So what is
drawn depends on no order, no actor and no restart, and a prefix that several solutions share is drawn on once. Every
rollout is kept, in the order of its number: to draw more and keep the finished ones would make a policy look better
than it is.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reward.prm.steps import StepCutter
from reward.rubric import Rubric
from rl.prm.folder import Prefix, QuestionData, Trajectory
from rollout.draws import DrawKey
from rollout.extension import Continuation, ContinuationSampler, Extension
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup, SamplingParams


@dataclass(frozen=True)
class Cut:
    """A prefix that is to be drawn on."""

    prompt: Prompt
    trajectory: int
    """The first that begins with it."""
    token_ids: tuple[int, ...]
    num_rollouts: int


@dataclass(frozen=True)
class Solution:
    """A completion that may be judged."""

    token_ids: tuple[int, ...]
    has_ended: bool


@dataclass(frozen=True)
class Collector:
    """What draws, judges and cuts."""

    sampler: ContinuationSampler
    rubric: Rubric
    cutter: StepCutter
    tokenizer: Any
    policy: PolicyVersion
    sampling: SamplingParams
    """`max_new_tokens` is what a whole solution may have, however it was begun."""
    seed: int
    num_trajectories: int

    def collect(
        self, prompts: Sequence[Prompt], trajectories: Sequence[tuple[Trajectory, ...]], num_rollouts: Sequence[int]
    ) -> list[QuestionData]:
        """What there is to know of each question. trajectories: of each; num_rollouts: from each of its prefixes."""
        cuts = [prefixes_of(*of) for of in zip(prompts, trajectories, num_rollouts, strict=True)]
        drawn = iter(self._prefixes([cut for own in cuts for cut in own]))
        return [
            QuestionData(prompt.id, prompt.token_ids, solutions, tuple(next(drawn) for _ in own))
            for prompt, solutions, own in zip(prompts, trajectories, cuts, strict=True)
        ]

    def trajectories(self, prompts: Sequence[Prompt]) -> list[tuple[Trajectory, ...]]:
        """The solutions of each question: the draws of ordinary rollouts under the same seed."""
        samples = range(self.num_trajectories)
        drawn = self._drawn(
            [
                [Extension(prompt, (), self.sampling, DrawKey(self.seed, prompt.id, i), lane=i) for i in samples]
                for prompt in prompts
            ]
        )
        solutions = [[Solution(c.token_ids, c.has_ended) for c in own] for own in drawn]
        rewards = self._rewards(zip(prompts, solutions, strict=True))
        return [
            tuple(self._trajectory(solution, reward) for solution, reward in zip(*of, strict=True))
            for of in zip(solutions, rewards, strict=True)
        ]

    def _trajectory(self, solution: Solution, reward: float | None) -> Trajectory:
        ends = self.cutter.ends(solution.token_ids, solution.has_ended)
        return Trajectory(solution.token_ids, solution.has_ended, reward, (0, *ends))

    def _prefixes(self, cuts: Sequence[Cut]) -> list[Prefix]:
        """The rollouts of every cut, drawn together."""
        drawn = self._drawn([self._requests(cut) for cut in cuts])
        solutions = [
            [Solution(cut.token_ids + c.token_ids, c.has_ended) for c in own]
            for cut, own in zip(cuts, drawn, strict=True)
        ]
        rewards = self._rewards(zip([cut.prompt for cut in cuts], solutions, strict=True))
        return [_prefix(*of) for of in zip(cuts, drawn, rewards, strict=True)]

    def _requests(self, cut: Cut) -> list[Extension]:
        """None for a prefix as long as a whole solution may be: its rollouts have failed as they stand."""
        room = self.sampling.max_new_tokens - len(cut.token_ids)
        if not room:
            return []
        sampling = SamplingParams(self.sampling.temperature, room, stop_token_ids=self.sampling.stop_token_ids)
        stream = f"{cut.prompt.id}\0prefix\0{_digest([cut.token_ids])}"
        return [
            Extension(cut.prompt, cut.token_ids, sampling, DrawKey(self.seed, stream, rollout), lane=cut.trajectory)
            for rollout in range(cut.num_rollouts)
        ]

    def _drawn(self, requests: Sequence[Sequence[Extension]]) -> list[list[Continuation]]:
        """In the shape of `requests`, all drawn in one call."""
        flat = [request for own in requests for request in own]
        drawn = iter(self.sampler.extend(flat) if flat else [])
        return [[next(drawn) for _ in own] for own in requests]

    def _rewards(self, solutions: Iterable[tuple[Prompt, Sequence[Solution]]]) -> list[list[float | None]]:
        """By group, by solution; None for what has not ended, which no scorer is asked about."""
        listed = list(solutions)
        groups = [self._group(prompt, [s for s in own if s.has_ended]) for prompt, own in listed]
        scored = iter(
            reward.value for rewards in self.rubric.score([g for g in groups if g.rollouts]) for reward in rewards
        )
        return [[next(scored) if solution.has_ended else None for solution in own] for _, own in listed]

    def _group(self, prompt: Prompt, solutions: Sequence[Solution]) -> RolloutGroup:
        rollouts = [
            Rollout(prompt.id, sample, s.token_ids, (), self._text(s.token_ids), truncated=False)
            for sample, s in enumerate(solutions)
        ]
        return RolloutGroup(prompt, tuple(rollouts), self.policy)

    def _text(self, token_ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        return text


def prefixes_of(prompt: Prompt, trajectories: Sequence[Trajectory], num_rollouts: int) -> list[Cut]:
    """The different prefixes of a question's solutions, in the order in which they first come.

    The end of a finished solution is none: its outcome is what it is.
    """
    found: dict[tuple[int, ...], Cut] = {}
    for index, trajectory in enumerate(trajectories):
        for end in trajectory.ends:
            if not trajectory.is_final(end):
                token_ids = trajectory.token_ids[:end]
                found.setdefault(token_ids, Cut(prompt, index, token_ids, num_rollouts))
    return list(found.values())


def _prefix(cut: Cut, rollouts: Sequence[Continuation], rewards: Sequence[float | None]) -> Prefix:
    return Prefix(
        trajectory=cut.trajectory,
        end=len(cut.token_ids),
        rewards=tuple(rewards) if rollouts else (None,) * cut.num_rollouts,
        num_tokens=tuple(len(rollout.token_ids) for rollout in rollouts) or (0,) * cut.num_rollouts,
        tokens=_digest([rollout.token_ids for rollout in rollouts]),
    )


def _digest(sequences: Sequence[Sequence[int]]) -> str:
    """sha256 hex over token ids as little-endian int64, every sequence preceded by its length."""
    digest = hashlib.sha256()
    for tokens in sequences:
        digest.update(np.asarray([len(tokens), *tokens], "<i8").tobytes())
    return digest.hexdigest()
