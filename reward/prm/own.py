"""Serves a PRM that was trained here: it reads the policy's own tokens, under the canonical ops."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reward.prm.families import Family
from reward.prm.model import PRMSettings, QuantilePRM, load_prm, read_settings
from reward.prm.packing import pack_inputs
from reward.prm.scorer import Rows
from reward.prm.steps import StepCutter, StepInput
from rollout.search.stepwise import Reading

MAX_ROWS = 4096
"""Tokens of one forward pass; no bit depends on it."""


class OwnReader:
    """Prompt and completion as they are, with the step token, if the PRM has one, where it was in training."""

    def __init__(self, settings: PRMSettings, tokenizer: Any):
        """tokenizer: the PRM's, whose vocabulary is the policy's."""
        self.levels = settings.levels
        self._cutter = StepCutter(tokenizer, settings.rule)

    @property
    def pause_token_ids(self) -> tuple[int, ...]:
        return self._cutter.pause_token_ids

    def step_ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        return self._cutter.ends(token_ids, has_ended)

    def inputs(self, reading: Reading) -> tuple[StepInput, ...]:
        """One sequence."""
        whole = self._cutter.read(reading.prompt.token_ids, reading.token_ids, reading.has_ended)
        return (StepInput(whole.token_ids[: whole.positions[-1] + 1], whole.ends, whole.positions),)


class OwnModel:
    """The rows of sequences, each to the bit a function of its sequence alone."""

    def __init__(self, model: QuantilePRM, max_rows: int = MAX_ROWS):
        self._model, self._max_rows = model, max_rows

    @classmethod
    def load(cls, folder: Path, dtype: str = "auto") -> "OwnModel":
        """That of a PRM's folder."""
        return cls(load_prm(folder, dtype))

    @torch.no_grad()
    def read(self, inputs: Sequence[StepInput]) -> list[Rows]:
        """(places, levels) for each, in order."""
        found: dict[int, Rows] = {}
        for pack in pack_inputs(inputs, self._max_rows):
            outputs = self._model(pack.token_ids, pack.layout, pack.rows)
            for index, own in zip(pack.members, outputs.split(pack.num_places), strict=True):
                found[index] = tuple(_row(self._model.family, output) for output in own)
        return [found[index] for index in range(len(inputs))]


def _row(family: Family, output: torch.Tensor) -> tuple[float, ...]:
    """Alone, for an elementwise kernel rounds the odd elements at the end of a tensor in another way than the rest."""
    return tuple(family.quantiles(output[None])[0].tolist())


def require_own(folder: Path, policy_tokenizer: Any) -> tuple[PRMSettings, Any]:
    """Settings and tokenizer of the PRM in `folder`. Raises ValueError where it cannot read the policy's tokens."""
    from transformers import AutoTokenizer

    settings = read_settings(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds a PRM without a tokenizer; save the policy's tokenizer beside it") from error
    require_same_tokens(folder, tokenizer, policy_tokenizer)
    return settings, tokenizer


def require_same_tokens(folder: Path, tokenizer: Any, policy_tokenizer: Any) -> None:
    """Nothing; raises ValueError unless each token of the policy's vocabulary has the same id in the PRM's.

    The PRM's may have more: a step token.
    """
    own, policy = tokenizer.get_vocab(), policy_tokenizer.get_vocab()
    differing = sorted(token for token, id in policy.items() if own.get(token) != id)
    if differing:
        token = differing[0]
        raise ValueError(
            f"the PRM in {folder} reads another vocabulary than the policy's: {len(differing)} of its {len(policy)} "
            f"tokens differ, {token!r} first, which is {policy[token]} for the policy and {own.get(token)} for the "
            "PRM; take a PRM whose backbone has the policy's tokenizer"
        )
