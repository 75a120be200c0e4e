"""Examples for tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Words:
    """An example with a target of any weight."""

    token_ids: tuple[int, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Counting:
    """An objective that knows how many targets there are and nothing else."""

    per_example: int = 2

    def num_targets(self, example: Words) -> int:
        return self.per_example

    def certify(self, model_dir: str, dtype: str) -> Any:
        raise NotImplementedError

    def load(self, model_dir: str, dtype: str, plan: Any) -> Any:
        raise NotImplementedError

    def loss(self, model: Any, examples: Any, totals: Any) -> Any:
        raise NotImplementedError

    def save(self, model: Any, folder: Path) -> None:
        raise NotImplementedError


def words(num: int, length: int = 3) -> list[Words]:
    return [Words(tuple(range(i, i + length))) for i in range(num)]
