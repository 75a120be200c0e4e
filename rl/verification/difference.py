"""Where two ledgers part: the first step, the first field in the order in which a step comes about."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FLOW = (
    "step",
    "contract",
    "contract_change",
    "batch",
    "policy",
    "prompts",
    "tokens",
    "rollout_logprobs",
    "trainer_logprobs",
    "rewards",
    "num_tokens",
    "num_mismatched",
    "loss_bits",
    "gradient",
    "grad_norm_bits",
    "weights",
    "off_policy",
    "prev",
    "hash",
)
"""The fields of a record of either kind, causes before effects."""
OF_CONTRACT = frozenset(("contract", "contract_change", "prev", "hash"))
"""Fields that differ under another contract even where every number is the same."""
ABSENT = "nothing"
"""Stands for a field that a record does not have."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """A step whose records are not the same."""

    step: int
    fields: tuple[str, ...]
    """Those that differ, causes first."""
    values: tuple[Any, Any]
    """What each side has for the first of them."""

    @property
    def field(self) -> str:
        """The first field that differs."""
        return self.fields[0]


def compare_records(a: Record, b: Record, ignoring: Collection[str] = ()) -> Difference | None:
    """The difference of two records of one step; None where every field is the same."""
    names = [name for name in FLOW if name not in ignoring and a.get(name, ABSENT) != b.get(name, ABSENT)]
    if not names:
        return None
    return Difference(a["step"], tuple(names), (a.get(names[0], ABSENT), b.get(names[0], ABSENT)))


def first_difference(a: Sequence[Record], b: Sequence[Record], ignoring: Collection[str] = ()) -> Difference | None:
    """The first difference among the steps that both ledgers have; None where there is none."""
    pairs = (compare_records(mine, theirs, ignoring) for mine, theirs in zip(a, b, strict=False))
    return next((difference for difference in pairs if difference is not None), None)
