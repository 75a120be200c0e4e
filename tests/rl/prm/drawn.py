"""Questions, solutions and rollouts as `train-prm` would have left them, made up; and what draws and judges them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from reward.types import Reward
from rl.prm.folder import Prefix, QuestionData, Trajectory
from rollout.draws import uniforms
from rollout.extension import Continuation, Extension
from rollout.types import PolicyVersion, Prompt, RolloutGroup, SamplingParams

POLICY = PolicyVersion(0, "ab")
END, BREAK = 0, 9
"""The stop token, and the token behind which a step has ended."""
SAMPLING = SamplingParams(max_new_tokens=6, stop_token_ids=(END,))


def prompt(index: int) -> Prompt:
    return Prompt(f"train/0/{index}", f"question {index}", (100 + index,), {})


class Cutter:
    """A step ends behind every `BREAK`; a place is read at the token in front of it."""

    def boundaries(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(i + 1 for i, token in enumerate(token_ids) if token == BREAK)

    def ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        found = self.boundaries(token_ids)
        return (*found, len(token_ids)) if has_ended and (*found, 0)[-1] < len(token_ids) else found


class Tokens:
    """Text of a completion: its tokens with spaces between."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, token_ids))


@dataclass
class Sampler:
    """Draws tokens 1 to 9 and the end, each a function of its key and place alone, as an engine does."""

    calls: list[int] = field(default_factory=list)

    def extend(self, requests: Sequence[Extension]) -> list[Continuation]:
        self.calls.append(len(requests))
        return [self._drawn(request) for request in requests]

    def _drawn(self, request: Extension) -> Continuation:
        tokens: list[int] = []
        while len(tokens) < request.sampling.max_new_tokens and (not tokens or tokens[-1] != END):
            draw = uniforms([request.key.counter_words()], [len(request.prefix) + len(tokens)])[0]
            tokens.append(int(draw * 10))
        return Continuation(tuple(tokens), (0.0,) * len(tokens), has_ended=tokens[-1] == END)


@dataclass
class Rubric:
    """1.0 for a completion with an even sum, else 0.0."""

    seen: list[tuple[int, ...]] = field(default_factory=list)

    def score(self, groups: Sequence[RolloutGroup]) -> list[tuple[Reward, ...]]:
        self.seen.extend(rollout.token_ids for group in groups for rollout in group.rollouts)
        return [tuple(Reward(float(sum(r.token_ids) % 2 == 0), {}) for r in group.rollouts) for group in groups]


def question(name: str, first: int, second: int) -> QuestionData:
    """Two solutions of two tokens: `3 9 4 <end>` came out right, `3 9` was cut off. `first` of 4 rollouts from the
    question and `second` of 4 from behind the step succeeded, the earliest."""
    return QuestionData(
        name,
        (7,),
        (Trajectory((3, BREAK, 4, END), True, 1.0, (0, 2, 4)), Trajectory((3, BREAK), False, None, (0, 2))),
        (Prefix(0, 0, rewards(first), (4,) * 4, "aa"), Prefix(0, 2, rewards(second), (2,) * 4, "bb")),
    )


def rewards(num_right: int, of: int = 4) -> tuple[float | None, ...]:
    """The first are right, then one is wrong, and the others have not ended."""
    return tuple([1.0] * num_right + [0.0] * (num_right < of) + [None] * (of - num_right - 1))
