"""When to stop thinking: the depth from which on one more run of the core changes next to nothing.

For sampling only. It is settled once for a sequence, by its question, so that all of its tokens have gone as deep: keys
and values of a run that a token left out would be missing to those behind it.
"""

from dataclasses import dataclass
from typing import Any

import torch

from kernels import seam
from kernels.attention import PackedLayout, Sequence
from kernels.coverage import logit_transform
from kernels.logprobs import log_probabilities
from kernels.recurrent.depth import Depth

MEASURES = ("kl", "state")


@dataclass(frozen=True)
class ExitRule:
    """What counts as next to nothing, at the last token of the question."""

    measure: str
    """`kl`: KL(p_r ‖ p_{r-1}) of the next token, nats; `state`: |h_r - h_{r-1}| / |h_r| of the last hidden state."""
    threshold: float


def settled_depth(model: Any, token_ids: torch.Tensor, rule: ExitRule) -> int:
    """The first r, from 2, whose change against r - 1 is below the threshold; the config's r where there is none.

    A function of the question alone. model: under the canonical seam; token_ids: (rows,) int64.
    """
    most = int(model.config.num_recurrences)
    layout = PackedLayout((Sequence(0, len(token_ids)),))
    with torch.no_grad():
        before = _last(model, token_ids, layout, 1)
        for depth in range(2, most + 1):
            now = _last(model, token_ids, layout, depth)
            if _change(model, now, before, rule.measure) < rule.threshold:
                return depth
            before = now
    return most


def _last(model: Any, token_ids: torch.Tensor, layout: PackedLayout, depth: int) -> torch.Tensor:
    """(1, hidden): the last token's hidden state."""
    return seam.hidden_states(model, token_ids, layout, Depth(depth))[-1:]


def _change(model: Any, now: torch.Tensor, before: torch.Tensor, measure: str) -> float:
    if measure == "state":
        return float((now - before).double().norm() / now.double().norm())
    mine, theirs = (_next_token(model, state) for state in (now, before))
    return float((mine.exp() * (mine - theirs)).sum())


def _next_token(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """(vocabulary,) float64 log-probabilities."""
    logits = logit_transform(model.config)(model.get_output_embeddings()(hidden))
    return log_probabilities(logits, 1.0)[0].double()
