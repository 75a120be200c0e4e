"""Chains of operations modulo a number, worked out from left to right: a task whose difficulty is its depth.

    7+3*2-5 mod 11 =        ((7 + 3) * 2 - 5) mod 11 is 4

The answer is one token of a tokenizer that has the numbers; nothing in between is written down, so that whoever answers
has to carry out n - 1 operations in one pass. An eighth of all problems, told by a hash of the expression, is set apart
for whoever pre-trains (`zerokl pretrain`). It is a task of reasoning-gym like any other to whoever asks for `mod_chain`
(`register`).
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any

NAME = "mod_chain"
SPLITS = ("all", "train", "held_out")
HELD_OUT_SHARE = 8
"""One problem in so many is set apart."""
MAX_DRAWS = 10_000
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


@dataclass
class ModChain:
    """The task's parameters. seed and size are reasoning-gym's own."""

    min_operands: int = 2
    max_operands: int = 8
    modulus: int = 11
    operators: Sequence[str] = field(default_factory=lambda: ["+", "-", "*"])
    split: str = "all"
    """`train` and `held_out` have no problem in common; `all` has both."""
    seed: int | None = None
    size: int = 500

    def validate(self) -> None:
        """Nothing; raises AssertionError, as reasoning-gym's tasks do, saying what is wrong."""
        assert 1 <= self.min_operands <= self.max_operands, (
            f"min_operands must be from 1 to max_operands={self.max_operands}, got {self.min_operands}"
        )
        assert self.modulus >= 2, f"modulus must be at least 2, got {self.modulus}"
        assert self.operators and set(self.operators) <= set(_OPERATIONS), (
            f"operators must be some of {', '.join(_OPERATIONS)}, got {list(self.operators)}"
        )
        assert self.split in SPLITS, f"split must be {' or '.join(SPLITS)}, got {self.split!r}"


def params_problems(params: Mapping[str, Any], key: str, taken: Sequence[str] = ()) -> Iterator[str]:
    """What is wrong with the parameters that a config gives under `key`, a line each. taken: names it may not give."""
    known = [item.name for item in fields(ModChain) if item.name not in ("seed", "size", *taken)]
    unknown = [name for name in params if name not in known]
    for name in unknown:
        yield f"{key}: {NAME} has no parameter {name!r} here; it has {', '.join(known)}"
    if not unknown:
        try:
            ModChain(**params).validate()
        except (AssertionError, TypeError) as error:
            yield f"{key}: {error}"


@dataclass(frozen=True)
class Problem:
    """A question and what is right."""

    question: str
    results: tuple[int, ...]
    """Behind each operand, the first included, what the chain comes to so far."""

    @property
    def answer(self) -> str:
        return str(self.results[-1])

    @property
    def num_operands(self) -> int:
        return len(self.results)


def draw_problem(params: ModChain, key: str) -> Problem:
    """The problem that `key` names: operands below the modulus, and none that multiplies by zero and forgets the rest.

    Raises ValueError where the split has next to no problems.
    """
    for draw in range(MAX_DRAWS):
        rng = random.Random(f"{NAME}/{key}/{draw}")
        expression, results = _expression(params, rng)
        if params.split == "all" or params.split == split_of(expression):
            return Problem(f"{expression} mod {params.modulus} =", results)
    raise ValueError(
        f"{NAME} with these parameters has no {params.split} problems to speak of; raise modulus or max_operands"
    )


def split_of(expression: str) -> str:
    """`train` or `held_out`, the same whoever asks."""
    return "held_out" if hashlib.sha256(expression.encode()).digest()[0] % HELD_OUT_SHARE == 0 else "train"


def _expression(params: ModChain, rng: random.Random) -> tuple[str, tuple[int, ...]]:
    """The expression, and its result behind each operand."""
    num_operands = rng.randint(params.min_operands, params.max_operands)
    results = [rng.randrange(params.modulus)]
    parts = [str(results[0])]
    for _ in range(num_operands - 1):
        operator = rng.choice(list(params.operators))
        operand = rng.randrange(operator == "*", params.modulus)
        results.append(_OPERATIONS[operator](results[-1], operand) % params.modulus)
        parts += [operator, str(operand)]
    return "".join(parts), tuple(results)


def register(gym: ModuleType) -> None:
    """Nothing; afterwards `gym`, the reasoning_gym package, knows the task by `NAME`."""
    if NAME in gym.factory.DATASETS:
        return

    class ModChainDataset(gym.factory.ProceduralDataset):  # type: ignore[name-defined, misc]
        """Problem i of a seed depends on both alone."""

        def __init__(self, config: ModChain) -> None:
            super().__init__(config=config, seed=config.seed, size=config.size)

        def __getitem__(self, index: int) -> dict[str, Any]:
            problem = draw_problem(self.config, f"{self.seed}/{index}")
            metadata = {"source_dataset": NAME, "source_index": index, "num_operands": problem.num_operands}
            return {"question": problem.question, "answer": problem.answer, "metadata": metadata}

    gym.factory.register_dataset(NAME, ModChainDataset, ModChain)
