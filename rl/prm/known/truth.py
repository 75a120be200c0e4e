"""The exact chance to succeed from every prefix, and the quantiles that a reader who sees no name could at best give.

A policy says one of few completions, and the trainer's forward pass gives the log-probability of each, whose bits are
those of the engine that sampled. From a prefix s of question q

    P(success | s, q) = Σ P(c | q) over right completions c behind s  /  Σ P(c | q) over all completions behind s

To a reader who knows the law of the hidden rates but not the name, a question is drawn with the weight P(s | q) that it
says s at all: the weighted quantiles of P(success | s, q) over the questions are the best that can be said.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rl.durable import committed_lines, write_atomically
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

Tokens = tuple[int, ...]
Likelihoods = Callable[[Sequence[RolloutGroup]], Sequence[Sequence[Sequence[float]]]]
"""By group, rollout and token: the log-probability under the policy."""


@dataclass(frozen=True)
class Tree:
    """Everything that a policy can say."""

    completions: tuple[Tokens, ...]
    succeeds: tuple[bool, ...]
    """Of each completion."""

    @cached_property
    def prefixes(self) -> tuple[Tokens, ...]:
        """All of them, a prefix before what continues it; the first is empty, and whole completions are among them."""
        return tuple(
            sorted({c[:end] for c in self.completions for end in range(len(c) + 1)}, key=lambda t: (len(t), t))
        )

    @cached_property
    def place(self) -> Mapping[Tokens, int]:
        """The place of each prefix among `prefixes`."""
        return {tokens: index for index, tokens in enumerate(self.prefixes)}

    @cached_property
    def behind(self) -> np.ndarray:
        """(prefixes, completions) bool: which completions begin with each prefix."""
        return np.array([[c[: len(prefix)] == prefix for c in self.completions] for prefix in self.prefixes])


@dataclass(frozen=True)
class Truth:
    """Exact probabilities for some questions, in their order. Both arrays are (questions, prefixes) float64."""

    tree: Tree
    reach: np.ndarray
    """How likely the policy is to say each prefix; of the empty one it is the sum over all completions, which is 1 but
    for what the policy can say beyond them and for rounding."""
    success: np.ndarray
    """How likely it is to succeed from there."""

    def at(self, question: int, prefix: Tokens) -> float:
        """The chance of the question to succeed from the prefix."""
        return float(self.success[question, self.tree.place[prefix]])

    def oracle(self, prefix: Tokens, levels: Sequence[float]) -> tuple[float, ...]:
        """The quantiles of the chance at a prefix, for a reader who sees the prefix and not the question."""
        place = self.tree.place[prefix]
        return weighted_quantiles(self.success[:, place], self.reach[:, place], levels)

    @property
    def missing(self) -> float:
        """The largest probability that any question's completions leave out."""
        return float(np.abs(1 - self.reach[:, 0]).max())


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels: Sequence[float]) -> tuple[float, ...]:
    """The least of `values` up to which a share of at least each level of `weights` lies. Both (N,) float64."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    places = np.searchsorted(shares, np.asarray(levels) - 1e-12)
    return tuple(float(value) for value in values[order][np.minimum(places, len(values) - 1)])


def exact_truth(prompts: Sequence[Prompt], tree: Tree, likelihoods: Likelihoods) -> Truth:
    """The truth of each question, by one pass of the policy over everything that it can say."""
    groups = [_group(prompt, tree) for prompt in prompts]
    logs = np.array([[sum(map(float, tokens)) for tokens in group] for group in likelihoods(groups)])
    chances = np.exp(logs)
    reach = chances @ tree.behind.T
    return Truth(tree, reach, (chances * np.array(tree.succeeds)) @ tree.behind.T / reach)


def save_truth(truth: Truth, path: Path) -> None:
    """Nothing; writes a line a question: reach and success of every prefix, in hex, so that no bit is lost."""
    rows = zip(truth.reach.tolist(), truth.success.tolist(), strict=True)
    lines = [json.dumps({"reach": [x.hex() for x in r], "success": [x.hex() for x in s]}) for r, s in rows]
    write_atomically(path, "".join(line + "\n" for line in lines))


def load_truth(tree: Tree, path: Path) -> Truth:
    """What `save_truth` wrote."""
    rows = [json.loads(line) for line in committed_lines(path)]
    reach, success = (np.array([[float.fromhex(x) for x in row[key]] for row in rows]) for key in ("reach", "success"))
    return Truth(tree, reach, success)


def _group(prompt: Prompt, tree: Tree) -> RolloutGroup:
    rollouts = [
        Rollout(prompt.id, index, tokens, (0.0,) * len(tokens), "", truncated=False)
        for index, tokens in enumerate(tree.completions)
    ]
    return RolloutGroup(prompt, tuple(rollouts), PolicyVersion(0, ""))
