"""A policy that climbs step by step, with a chance to go wrong that each question has for itself, and its oracle."""

from dataclasses import dataclass, field

from rollout.draws import uniforms
from rollout.extension import Continuation
from rollout.search.stepwise import StepScores
from rollout.search.types import Task, Tools
from rollout.types import Prompt

RIGHT, WRONG, COMMA, STEP, END = range(5)
"""A step is what is said, a comma, which looks like its end, and the token that ends it."""


@dataclass
class Ladder:
    """`num_steps` steps, then the end. A right solution has no wrong step, unless `mend` puts one right again."""

    num_steps: int = 3
    mend: float = 0.0
    """The chance that a step behind a wrong one is right."""
    calls: list = field(default_factory=list)

    def extend(self, requests):
        """The policy as a `ContinuationSampler`."""
        self.calls.append(len(requests))
        keys = [r.key.counter_words() for r in requests for _ in range(r.sampling.max_new_tokens)]
        places = [len(r.prefix) + i for r in requests for i in range(r.sampling.max_new_tokens)]
        draws = iter(uniforms(keys, places).tolist())
        return [self._drawn(r, [next(draws) for _ in range(r.sampling.max_new_tokens)]) for r in requests]

    def _drawn(self, request, draws):
        tokens = list(request.prefix)
        for draw in draws:
            tokens.append(self._next(request.prompt, tokens, draw))
            if tokens[-1] in request.sampling.stop_token_ids:
                break
        drawn = tuple(tokens[len(request.prefix) :])
        return Continuation(drawn, (-1.0,) * len(drawn), has_ended=drawn[-1] in request.sampling.stop_token_ids)

    def _next(self, prompt, tokens, draw):
        if len(tokens) >= 3 * self.num_steps:
            return END
        if len(tokens) % 3:
            return (COMMA, STEP)[len(tokens) % 3 - 1]
        return RIGHT if draw < self.chance(prompt, tokens) else WRONG

    def chance(self, prompt, tokens):
        """That the next step is right."""
        return 1 - prompt.columns["error"] if self.is_right(tokens) else self.mend

    def is_right(self, tokens):
        """Whether the last step was right, where there is one."""
        said = [token for token in tokens if token in (RIGHT, WRONG)]
        return said[-1:] != [WRONG]

    def success(self, prompt, tokens):
        """The chance that a solution which begins with `tokens` comes out right."""
        right = float(self.is_right(tokens))
        for _ in range(self.num_steps - sum(token == STEP for token in tokens)):
            right = right * (1 - prompt.columns["error"]) + (1 - right) * self.mend
        return right


@dataclass
class Oracle:
    """Knows the chances exactly; quantiles a `spread` apart, in the odds, say that it does not trust itself."""

    ladder: Ladder
    spread: float = 1.0
    levels: tuple = (0.1, 0.5, 0.9)
    pause_token_ids: tuple = (COMMA, STEP)
    readings: list = field(default_factory=list)

    def step_ends(self, token_ids, has_ended):
        ends = [i for i, token in enumerate(token_ids, start=1) if token == STEP]
        return (*ends, len(token_ids)) if has_ended and len(token_ids) not in ends else tuple(ends)

    def score(self, readings):
        self.readings.append(list(readings))
        return [self._scores(reading) for reading in readings]

    def _scores(self, reading):
        ends = (0, *self.step_ends(reading.token_ids, reading.has_ended))
        chances = [self.ladder.success(reading.prompt, reading.token_ids[:end]) for end in ends]
        rows = tuple(tuple(_with_odds(p, factor) for factor in (1 / self.spread, 1.0, self.spread)) for p in chances)
        return StepScores(ends, rows, num_tokens_read=1 + len(reading.token_ids))


def _with_odds(p, factor):
    return p * factor / (p * factor + 1 - p)


def questions(errors):
    """A task for each error rate of a step."""
    return [Task(Prompt(f"ladder/{i}", "", (7,), {"error": error})) for i, error in enumerate(errors)]


def tools(ladder, scorer, seed=0):
    return Tools(ladder, (END,), seed, step_scorer=scorer)


def share_right(ladder, outcomes):
    return sum(ladder.is_right(outcome.path.token_ids) for outcome in outcomes) / len(outcomes)


def tokens_sampled(outcomes):
    return sum(outcome.effort.tokens_sampled for outcome in outcomes)
