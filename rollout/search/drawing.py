"""From paths that are to be drawn on to requests: which task they are for, where they go, what keys their draws."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rollout.draws import DrawKey
from rollout.extension import Continuation, Extension, Scoring
from rollout.search.meter import Meter
from rollout.search.types import Path, Task, Tools
from rollout.types import SamplingParams

POLICY = Scoring(temperature=1.0)
"""The log-probability under the policy itself beside that under the proposal."""


@dataclass(frozen=True)
class Cut:
    """A path that has not ended and is to be drawn on, by at most `num_tokens`."""

    chain: int
    """Index of the chain, particle or trace among all that a method advances."""
    prefix: Path
    num_tokens: int


Draw = Callable[[Sequence[Cut]], Sequence[Continuation]]
"""Draws behind each cut."""
KeyOf = Callable[[Task, int], DrawKey]
"""The key of a task's member."""


@dataclass(frozen=True)
class Drawing:
    """Draws for the members of all tasks: chain c is member c % num_members of task c // num_members."""

    tasks: Sequence[Task]
    tools: Tools
    meter: Meter
    temperature: float
    """Of the proposal."""
    num_members: int = 1
    """Chains, particles or traces of one task."""
    scoring: Scoring | None = None

    def under(self, key_of: KeyOf) -> Draw:
        """What draws behind cuts with the keys of `key_of`."""
        return lambda cuts: self.meter.extend(
            [cut.chain // self.num_members for cut in cuts], [self._request(cut, key_of) for cut in cuts]
        )

    def _request(self, cut: Cut, key_of: KeyOf) -> Extension:
        task, member = self.tasks[cut.chain // self.num_members], cut.chain % self.num_members
        sampling = SamplingParams(
            temperature=self.temperature,
            max_new_tokens=cut.num_tokens,
            stop_token_ids=self.tools.stop_token_ids,
        )
        lane = task.sample * self.num_members + member
        return Extension(task.prompt, cut.prefix.token_ids, sampling, key_of(task, member), lane, self.scoring)


def drawn_on(paths: Mapping[int, Path], horizon: int, draw: Draw) -> dict[int, Path]:
    """Every path, by its chain, drawn on to `horizon` tokens or its stop token, in one call of `draw`."""
    cuts = [
        Cut(chain, path, horizon - len(path.token_ids))
        for chain, path in paths.items()
        if not path.has_ended and len(path.token_ids) < horizon
    ]
    return {**paths, **{cut.chain: cut.prefix.extended(drawn) for cut, drawn in zip(cuts, draw(cuts), strict=True)}}


def all_drawn_on(paths: Sequence[Path], horizon: int, draw: Draw) -> list[Path]:
    """The same for the paths of all chains, in their order."""
    return list(drawn_on(dict(enumerate(paths)), horizon, draw).values())
