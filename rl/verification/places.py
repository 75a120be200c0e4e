"""The place behind a difference of two ledgers: which token, log-probability, reward or weight.

A record holds digests. What was hashed lies in the runs' folders: rollouts of every step, weights of the steps that
have a checkpoint.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rl.checkpoint import STATE_FILE
from rl.run_folder import RunFolder
from rl.verification.difference import Difference
from rl.verification.stored_rollouts import StoredRollout, read_rollouts
from rl.verification.weight_places import Parameter, first_weight_difference

_IN_ROLLOUTS = {
    "prompts": ("prompt_id", "prompt_token_ids"),
    "tokens": ("prompt_id", "sample", "token_ids"),
    "rollout_logprobs": ("rollout_logprobs",),
    "trainer_logprobs": ("trainer_logprobs",),
    "rewards": ("reward",),
    "num_tokens": ("token_ids",),
    "num_mismatched": ("rollout_logprobs", "trainer_logprobs"),
}
"""The columns behind a field of the ledger."""
IN_WEIGHTS = ("policy", "loss_bits", "gradient", "grad_norm_bits", "weights")
"""The fields that weights tell of."""


@dataclass(frozen=True)
class Side:
    """One of two runs that are compared."""

    name: str
    """What to call it."""
    folder: RunFolder


def place_of(difference: Difference, a: Side, b: Side, parameters: Sequence[Parameter]) -> list[str]:
    """Lines that say where a difference comes from, as far as the folders of both sides can tell.

    `parameters`: of the model, in order, to name a weight by; none where they are not known.
    """
    lines = [f"{side.name}: {shown}" for side, shown in zip((a, b), map(_field_value, difference.values), strict=True)]
    if columns := _IN_ROLLOUTS.get(difference.field):
        lines += _rollouts_place(difference.step, columns, a, b)
    elif difference.field in IN_WEIGHTS:
        # The weights that sampled at a step are those that the step before ended with.
        step = difference.step - 1 if difference.field == "policy" else difference.step
        lines += _weights_place(step, a, b, parameters)
    return lines


def rollout_difference(a: Sequence[StoredRollout], b: Sequence[StoredRollout], columns: Sequence[str]) -> str | None:
    """The first rollout, position and both values where any of `columns` differ; None where they do not."""
    for mine, theirs in zip(a, b, strict=False):
        for column in columns:
            if getattr(mine, column) != getattr(theirs, column):
                where = f"prompt {mine.prompt_id}, sample {mine.sample}"
                return f"{where}, {_value_difference(column, getattr(mine, column), getattr(theirs, column))}"
    return f"{len(a)} rollouts against {len(b)}" if len(a) != len(b) else None


def _rollouts_place(step: int, columns: Sequence[str], a: Side, b: Side) -> list[str]:
    paths = [side.folder.rollouts_path(step) for side in (a, b)]
    missing = [f"{side.name}: there is no {path} to look into" for side, path in zip((a, b), paths, strict=True)]
    if absent := [line for line, path in zip(missing, paths, strict=True) if not path.is_file()]:
        return absent
    try:
        found = rollout_difference(read_rollouts(paths[0]), read_rollouts(paths[1]), columns)
    except (ValueError, TypeError) as error:
        return [f"the rollouts of step {step} cannot be compared: {error}"]
    return [found or f"{paths[0]} and {paths[1]} do not differ there: one of them is not what its ledger hashed"]


def _weights_place(step: int, a: Side, b: Side, parameters: Sequence[Parameter]) -> list[str]:
    paths = [side.folder.checkpoint_path(step) / STATE_FILE for side in (a, b)]
    for side, path in zip((a, b), paths, strict=True):
        if not path.is_file():
            return [f"{side.name}: there is no checkpoint of step {step} to look into for the weight that differs"]
    found = first_weight_difference(paths[0], paths[1], parameters)
    return [found or f"the checkpoints of step {step} hold the same weights and moments"]


def _value_difference(column: str, mine: Any, theirs: Any) -> str:
    if not isinstance(mine, list):
        return f"{column}: {_shown(column, mine)} against {_shown(column, theirs)}"
    for position, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        if one != other:
            return f"{column}, position {position}: {_shown(column, one)} against {_shown(column, other)}"
    return f"{column}: {len(mine)} values against {len(theirs)}, the same as far as both go"


def _shown(column: str, value: Any) -> str:
    """Floats in hex, where no bit is lost, and in decimal."""
    if column.endswith("logprobs"):
        return f"{value} ({float.fromhex(value)!r})"
    return f"{float(value).hex()} ({value!r})" if column == "reward" else str(value)


def _field_value(value: Any) -> str:
    """A field of a record; fp32 bits with the number that they are."""
    if isinstance(value, str) and value.startswith("0x"):
        return f"{value} ({struct.unpack('<f', struct.pack('<I', int(value, 16)))[0]!r})"
    return str(value)
