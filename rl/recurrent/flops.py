"""What a token costs at a given depth, counted by running the modelling code on shapes alone."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from kernels.recurrent.depth import recurrence_of
from rl.activations import without_weights

ROWS = 64


@dataclass(frozen=True)
class Cost:
    """What one token of a policy takes."""

    recurrence: int | None
    """How often the core is run for it; None for a model without one."""
    flops_per_token: int
    """Of the forward pass."""
    flops_per_run: int = 0
    """Of one run of the core, in it."""

    def at(self, recurrence: int) -> int:
        """Operations of a forward pass that goes so deep."""
        return self.flops_per_token + (recurrence - (self.recurrence or 0)) * self.flops_per_run


def cost_of(model_config: Any) -> Cost:
    """The cost of a token of the model that a Hugging Face config describes."""
    recurrence, flops = recurrence_of(model_config), flops_per_token(model_config)
    if recurrence is None:
        return Cost(None, flops)
    deeper = type(model_config).from_dict(model_config.to_dict() | {"num_recurrences": recurrence + 1})
    return Cost(recurrence, flops, flops_per_token(deeper) - flops)


def flops_per_token(model_config: Any) -> int:
    """Floating-point operations of one token's forward pass, head included: two for every weight that it meets.

    A core that is run r times counts r times. Attention over the tokens before it is left out, for it grows with them;
    it is small beside the weights while contexts are short. model_config: of a Hugging Face causal LM.
    """
    model = without_weights(model_config, torch.float32)
    token_ids = torch.zeros(1, ROWS, dtype=torch.int64, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=token_ids, position_ids=token_ids, use_cache=False)
    return int(counter.get_total_flops()) // ROWS
