"""The rollouts of a step as they lie in a run's folder, read back and hashed as the ledger hashes them."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rl.ledger import digest_logprobs, digest_prompts, digest_rewards, digest_tokens
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

UNKNOWN_POLICY = PolicyVersion(0, "")


@dataclass(frozen=True)
class StoredRollout:
    """One line of `rollouts/step_000001.jsonl`."""

    prompt_id: str
    sample: int
    prompt_token_ids: list[int]
    token_ids: list[int]
    rollout_logprobs: list[str]
    """Hex floats."""
    trainer_logprobs: list[str]
    """Hex floats."""
    reward: float
    text: str
    recurrence: int | None = None
    """How often the core of a recurrent-depth model was run; a line without it is of a model that has none."""


def read_rollouts(path: Path) -> list[StoredRollout]:
    """The rollouts in `path`. Raises ValueError naming the first line that is none."""
    lines = path.read_bytes().splitlines()
    return [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def ledger_fields(rollouts: Sequence[StoredRollout]) -> dict[str, Any]:
    """The fields of a ledger record that follow from a step's rollouts. Raises ValueError where a value is unfit."""
    batch = [list(group) for _, group in itertools.groupby(rollouts, key=lambda rollout: rollout.prompt_id)]
    groups = [_group(group) for group in batch]
    pairs = [pair for r in rollouts for pair in zip(r.rollout_logprobs, r.trainer_logprobs, strict=True)]
    return {
        "prompts": digest_prompts(groups),
        "tokens": digest_tokens(groups),
        "rollout_logprobs": digest_logprobs([_floats(rollout.rollout_logprobs) for rollout in rollouts]),
        "trainer_logprobs": digest_logprobs([_floats(rollout.trainer_logprobs) for rollout in rollouts]),
        "rewards": digest_rewards([[rollout.reward for rollout in group] for group in batch]),
        "num_tokens": len(pairs),
        "num_mismatched": sum(float.fromhex(theirs) != float.fromhex(mine) for theirs, mine in pairs),
    }


def _parse(line: bytes, where: str) -> StoredRollout:
    values = json.loads(line)
    names = [field.name for field in fields(StoredRollout)]
    if not isinstance(values, dict) or set(values) | {"recurrence"} != set(names):
        raise ValueError(f"{where}: must be an object with {', '.join(names)}")
    return StoredRollout(**values)


def _group(rollouts: Sequence[StoredRollout]) -> RolloutGroup:
    first = rollouts[0]
    prompt = Prompt(first.prompt_id, "", tuple(first.prompt_token_ids), {})
    return RolloutGroup(prompt, tuple(_rollout(rollout) for rollout in rollouts), UNKNOWN_POLICY)


def _rollout(stored: StoredRollout) -> Rollout:
    return Rollout(stored.prompt_id, stored.sample, tuple(stored.token_ids), (), stored.text, False)


def _floats(values: Sequence[str]) -> list[float]:
    return [float.fromhex(value) for value in values]
