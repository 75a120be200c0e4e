"""Where the examples of a step come from: a pure function of the step, so that a resumed run lacks nothing."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rl.data.order import permutation
from rl.supervised.objective import Example


class Batches(Protocol):
    """The examples of every step."""

    def batch(self, step: int) -> Sequence[Example]:
        """Those of `step`, from 1; as many at every step."""

    @property
    def digest(self) -> str:
        """sha256 hex over all that decides which examples come when."""


@dataclass(frozen=True)
class Epochs:
    """A `Batches` over examples that have an end: they come round in another order each epoch.

    A batch may hold the end of one epoch and the beginning of the next.
    """

    examples: tuple[Any, ...]
    batch_size: int
    seed: int

    def batch(self, step: int) -> list[Any]:
        start = (step - 1) * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    @cached_property
    def digest(self) -> str:
        order = f"{self.seed}/{self.batch_size}/{len(self.examples)}"
        return hashlib.sha256(f"{order}/{digest_examples(self.examples)}".encode()).hexdigest()

    def _at(self, position: int) -> Any:
        epoch, place = divmod(position, len(self.examples))
        return self.examples[_order(self.seed, epoch, len(self.examples))[place]]


def digest_examples(examples: Sequence[Any]) -> str:
    """sha256 hex over the examples as JSON, in order; a float stands there with all its digits."""
    text = json.dumps([asdict(example) for example in examples], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, num_examples: int) -> npt.NDArray[np.int64]:
    return permutation(f"{seed}/examples/{epoch}", num_examples)
