"""Policies small enough to be enumerated: tables of next-token probabilities in float64."""

import bisect
import itertools
from dataclasses import dataclass, field

import numpy as np

from rollout.draws import uniforms
from rollout.extension import Continuation
from rollout.search.types import Path, Task, Tools
from rollout.types import Prompt

PROMPT = Prompt("toy/0", "", (), {})


@dataclass(frozen=True)
class Row:
    """The next token behind one prefix."""

    ends: list
    """Cumulative probabilities under the proposal."""
    proposal: list
    policy: list
    confidence: float
    """Over the two likeliest tokens."""


@dataclass
class Toy:
    """`end_rates[t]` is the probability of the end token at place t, the same behind every prefix of that length when
    `tilt` is 0; what is left is spread unevenly over the other tokens, differently behind every prefix."""

    end_rates: tuple[float, ...]
    num_words: int = 2
    tilt: float = 0.0
    seed: int = 0
    tables: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    @property
    def end(self):
        return self.num_words

    def probs(self, prefix):
        """(num_words + 1,) probabilities of the next token."""
        if prefix not in self.tables:
            rng = np.random.default_rng([self.seed, len(prefix), *prefix])
            words = rng.dirichlet(np.full(self.num_words, 0.7)) + 0.05
            rate = self.end_rates[min(len(prefix), len(self.end_rates) - 1)]
            rate *= 1 + self.tilt * (rng.random() - 0.5)
            self.tables[prefix] = np.array([*(1 - rate) * words / words.sum(), rate])
        return self.tables[prefix]

    def logprobs(self, prefix, temperature=1.0):
        """(num_words + 1,) log-probabilities at a temperature; 0 takes the likeliest token."""
        cached = (prefix, temperature)
        if cached not in self.tables:
            probs = self.probs(prefix)
            powers = probs ** (1 / temperature) if temperature else (probs == probs.max()) * 1.0
            with np.errstate(divide="ignore"):
                self.tables[cached] = np.log(powers / powers.sum())
        return self.tables[cached]

    def continuation(self, prefix, tokens, temperature):
        """What an engine would say of `tokens` drawn behind `prefix`."""
        rows = [self.row(prefix + tuple(tokens[:i]), temperature) for i in range(len(tokens))]
        pairs = list(zip(rows, tokens, strict=True))
        return Continuation(
            tuple(tokens),
            tuple(row.proposal[token] for row, token in pairs),
            tuple(row.policy[token] for row, token in pairs),
            tuple(row.confidence for row in rows),
            has_ended=tokens[-1] == self.end,
        )

    def row(self, prefix, temperature):
        """What there is to know of one place."""
        cached = (prefix, temperature, "row")
        if cached not in self.tables:
            proposal, policy = self.logprobs(prefix, temperature), self.logprobs(prefix)
            confidence = -float(np.sort(policy)[-2:].mean())
            ends = np.exp(proposal).cumsum()
            self.tables[cached] = Row((ends / ends[-1]).tolist(), proposal.tolist(), policy.tolist(), confidence)
        return self.tables[cached]

    def suffixes(self, prefix, horizon, temperature=1.0):
        """Every continuation of `prefix` to the end token or `horizon`, with a probability above 0."""
        cached = (prefix, horizon, temperature)
        if cached in self.tables:
            return self.tables[cached]
        found = []
        for length in range(1, horizon - len(prefix) + 1):
            for words in itertools.product(range(self.num_words), repeat=length - 1):
                last = [self.end] if length < horizon - len(prefix) else range(self.num_words + 1)
                found += [self.continuation(prefix, (*words, token), temperature) for token in last]
        self.tables[cached] = [drawn for drawn in found if np.isfinite(sum(drawn.policy_logprobs))]
        return self.tables[cached]

    def states(self, horizon, temperature=1.0):
        """Every completion within `horizon`."""
        return [Path().extended(drawn) for drawn in self.suffixes((), horizon, temperature)]

    def target(self, states, alpha):
        """p^alpha over `states`, which are all there are; (n,)."""
        weights = np.array(
            [np.prod([self.probs(s.token_ids[:t])[x] for t, x in enumerate(s.token_ids)]) for s in states]
        )
        return weights**alpha / (weights**alpha).sum()

    def extend(self, requests):
        """The toy as a `ContinuationSampler`."""
        self.calls.append(len(requests))
        keys = [r.key.counter_words() for r in requests for _ in range(r.sampling.max_new_tokens)]
        places = [len(r.prefix) + i for r in requests for i in range(r.sampling.max_new_tokens)]
        draws = iter(uniforms(keys, places).tolist() if keys else [])
        return [self._drawn(r, [next(draws) for _ in range(r.sampling.max_new_tokens)]) for r in requests]

    def _drawn(self, request, draws):
        tokens, temperature = [], request.sampling.temperature
        for draw in draws:
            row = self.row(request.prefix + tuple(tokens), temperature)
            tokens.append(bisect.bisect_right(row.ends, draw))
            if tokens[-1] == self.end:
                break
        return self.continuation(request.prefix, tokens, temperature)


TOYS = {
    "ends_anywhere": Toy((0.3,), tilt=0.8),
    "ends_rarely": Toy((0.02,), tilt=1.0, seed=1),
    "ends_at_once": Toy((0.9, 0.2, 0.6), seed=2),
    "ends_late": Toy((0.0, 0.0, 0.0, 0.7), seed=3),
    "ends_in_the_middle": Toy((0.0, 0.5, 0.0, 0.1), tilt=0.5, seed=4),
    "never_ends": Toy((0.0,), seed=5),
    "more_words": Toy((0.2, 0.0, 0.4), num_words=3, tilt=0.9, seed=6),
}


def tasks(count, prompt=PROMPT):
    return [Task(prompt, sample) for sample in range(count)]


def tools(toy, seed=0, **judges):
    return Tools(toy, (toy.end,), seed, **judges)


def law_of_draws(paths, states):
    """Share of `paths` at each of `states`; (n,)."""
    place = {state.token_ids: i for i, state in enumerate(states)}
    return np.bincount([place[path.token_ids] for path in paths], minlength=len(states)) / len(paths)


def total_variation(p, q):
    return float(np.abs(np.asarray(p) - np.asarray(q)).sum() / 2)


def noise_floor(law, num_draws, quantile=0.999):
    """What total variation from `law` its own draws stay below in all but one of a thousand cases."""
    counts = np.random.default_rng(0).multinomial(num_draws, law, size=4000)
    return float(np.quantile(np.abs(counts / num_draws - law).sum(1) / 2, quantile))
