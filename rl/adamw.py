"""AdamW that gives every element the same bits, however the parameters are cut into partitions.

torch's fused CPU kernel updates whole vector registers with one piece of code and what is left over at a tensor's end
with another, and the two round differently. Where a partition ends follows from world size and ZeRO stage. So nothing
is left over here: the end of a tensor is updated in a copy that is padded to whole registers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.adamw import adamw

LANES = 64
"""Elements; a whole number of vector registers, whichever the instruction set."""


class CanonicalAdamW(torch.optim.Optimizer):
    """AdamW with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2), as `torch.optim.AdamW(fused=True)`.

    Parameters are contiguous and fp32. A parameter's state is `exp_avg`, `exp_avg_sq` and `step`, as torch has it.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Nothing; one step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter] or self._fresh_state(parameter)
        tensors = (parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"])
        flats = [tensor.detach().view(-1) for tensor in tensors if tensor is not None]
        num_whole = parameter.numel() // LANES * LANES
        ends = [F.pad(flat[num_whole:], (0, LANES + num_whole - parameter.numel())) for flat in flats]
        _fused_update([flat[:num_whole] for flat in flats], ends, state["step"], group)
        for flat, end in zip(flats, ends, strict=True):
            flat[num_whole:] = end[: parameter.numel() - num_whole]
        state["step"] += 1

    def _fresh_state(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        zeros = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
        self.state[parameter] = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **zeros}
        return self.state[parameter]


def _fused_update(
    wholes: list[torch.Tensor], ends: list[torch.Tensor], step: torch.Tensor, group: dict[str, Any]
) -> None:
    """wholes and ends: parameter, gradient and both moments, lengths a multiple of LANES; `step` is left as it is."""
    parameters, gradients, means, squares = ([whole, end] for whole, end in zip(wholes, ends, strict=True))
    adamw(
        parameters, gradients, means, squares, [], [step.clone(), step.clone()], fused=True, amsgrad=False,
        beta1=group["betas"][0], beta2=group["betas"][1], lr=group["lr"], weight_decay=group["weight_decay"],
        eps=group["eps"], maximize=False,
    )  # fmt: skip
