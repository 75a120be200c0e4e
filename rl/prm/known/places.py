"""The truth at the places that a reward model reads, for the known-truth task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl.forward import ForwardPass
from rl.prm.examples import ReadSolution
from rl.prm.known.task import RIGHT, Vocabulary
from rl.prm.known.truth import Tokens, Tree, Truth, exact_truth, load_truth, save_truth
from rollout.types import Prompt

TRUTH_FILE = "truth.jsonl"


@dataclass(frozen=True)
class KnownPlaces:
    """The truth of some questions, and which of its rows is whose."""

    truth: Truth
    row: Mapping[str, int]
    """By the question's id."""

    def chances(self, solutions: Sequence[ReadSolution]) -> np.ndarray:
        """(N,) float64: the chance to succeed at every place of `solutions`, in order."""
        return np.array([self.truth.at(self.row[s.question], prefix) for s in solutions for prefix in prefixes(s)])

    def oracle(self, solutions: Sequence[ReadSolution], levels: Sequence[float]) -> np.ndarray:
        """(N, levels) float64: the best quantiles that can be said there without the question's hidden rates."""
        found: dict[Tokens, tuple[float, ...]] = {}
        for prefix in (prefix for solution in solutions for prefix in prefixes(solution)):
            if prefix not in found:
                found[prefix] = self.truth.oracle(prefix, levels)
        return np.array([found[prefix] for solution in solutions for prefix in prefixes(solution)])


def known_places(prompts: Sequence[Prompt], policy_dir: Path, dtype: str, folder: Path) -> KnownPlaces:
    """The truth of `prompts`, computed once and kept in `folder`. Ray must be up."""
    path, row = folder / TRUTH_FILE, {prompt.id: index for index, prompt in enumerate(prompts)}
    if not path.is_file():
        policy = ForwardPass()
        try:
            policy.load(policy_dir, dtype)
            save_truth(exact_truth(prompts, known_tree(), policy.logprobs), path)
        finally:
            policy.close()
    return KnownPlaces(load_truth(known_tree(), path), row)


def known_tree() -> Tree:
    """Everything that the task's policy can say."""
    vocabulary = Vocabulary()
    completions, right = vocabulary.completions(), vocabulary.id(RIGHT)
    return Tree(tuple(completions), tuple(right in completion for completion in completions))


def prefixes(solution: ReadSolution) -> list[Tokens]:
    """The tokens of the solution in front of each of its places. It was read without step tokens."""
    start = solution.positions[0] + 1
    return [solution.token_ids[start : position + 1] for position in solution.positions]
