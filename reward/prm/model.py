"""A process reward model: a causal language model under the canonical ops, and a small head on its hidden states.

A PRM's folder is a Hugging Face checkpoint with two files, or three, beside it:

    config.json, model.safetensors, tokenizer …    the backbone
    prm.json                                       settings: family, levels, where steps end
    prm_head.safetensors                           weight (P, hidden) and bias (P,), fp32
    recalibration.json                             applied where it is there
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kernels import seam
from kernels.attention import PackedLayout
from kernels.certify import certify_linear, rows_are_independent
from kernels.linear import CANDIDATES, LinearPlan, PackedWeight, linear
from kernels.recurrent.registration import register
from reward.prm.families import Family, make_family
from reward.prm.recalibration import HeadRecalibration, load_recalibration
from reward.prm.steps import StepRule

SETTINGS_FILE = "prm.json"
HEAD_FILE = "prm_head.safetensors"


@dataclass(frozen=True)
class PRMSettings:
    """What has to be the same in training and serving."""

    family: str = "beta"
    """See `reward.prm.families`."""
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    separator: str = "\n"
    """Text that ends a step."""
    step_token: str = ""
    """See `reward.prm.steps.StepRule`."""

    @property
    def rule(self) -> StepRule:
        return StepRule(self.separator, self.step_token)

    def make_family(self) -> Family:
        """Raises ValueError for a family or levels that there cannot be."""
        return make_family(self.family, self.levels)


class QuantileHead(seam.CanonicalLinear):
    """The outputs of a family from hidden states: (R, hidden) of any float dtype -> (R, P) fp32.

    A row's outputs depend on that row alone. `kernels.seam.repack` packs its weight with those of the backbone. It is
    in fp32, but where a trainer casts all parameters to the dtype that it trains in.
    """

    def __init__(self, hidden_size: int, bias: Sequence[float], dtype: torch.dtype):
        """Starts with the outputs `bias` whatever it reads. dtype: the backbone's, for it may be cast to that."""
        super().__init__(hidden_size, len(bias))
        shape = len(bias), hidden_size
        certified = [plan for plan in CANDIDATES if rows_are_independent(plan, shape, dtype)]
        self.plan = certify_linear([shape], torch.float32, certified)
        with torch.no_grad():
            self.bias.copy_(torch.tensor(bias))
        self.packed = PackedWeight(self.weight, self.plan)

    def reset_parameters(self) -> None:
        """Zero, and no random number is drawn."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return linear(input.to(self.weight.dtype), self.weight, self.bias, self.packed).float()


class QuantilePRM(nn.Module):
    """Backbone and head."""

    def __init__(
        self,
        backbone: Any,
        head: QuantileHead,
        settings: PRMSettings,
        recalibration: HeadRecalibration | None = None,
    ):
        """backbone: a Hugging Face causal LM with the canonical ops installed."""
        super().__init__()
        self.backbone, self.head, self.settings = backbone, head, settings
        family = settings.make_family()
        self.family: Family = recalibration.of(family) if recalibration else family

    @classmethod
    def over(cls, backbone: Any, settings: PRMSettings, bias: Sequence[float]) -> "QuantilePRM":
        """One with a fresh head that says `bias`, the outputs of the family, of everything."""
        return cls(backbone, QuantileHead(_hidden_size(backbone), bias, backbone.dtype), settings)

    @property
    def config(self) -> Any:
        """The backbone's."""
        return self.backbone.config

    def forward(self, token_ids: torch.Tensor, layout: PackedLayout, rows: torch.Tensor) -> torch.Tensor:
        """(R, P) fp32 outputs of the head, as they are before any recalibration.

        token_ids: (N,) int64, packed as `layout` says; rows: (R,) int64, which of them are read.
        """
        outputs: torch.Tensor = self.head(seam.hidden_states(self.backbone, token_ids, layout)[rows])
        return outputs


def save_prm(model: QuantilePRM, folder: Path, backbone: Any = None) -> None:
    """Nothing; writes all of a PRM's folder but the tokenizer and a recalibration.

    backbone: written instead of the model's own, where that one has adapters to be merged first.
    """
    from safetensors.torch import save_file

    (backbone or model.backbone).save_pretrained(folder)
    head = {"weight": model.head.weight, "bias": model.head.bias}
    save_file({name: tensor.detach().float().contiguous() for name, tensor in head.items()}, folder / HEAD_FILE)
    (folder / SETTINGS_FILE).write_text(json.dumps(dataclasses.asdict(model.settings), indent=2) + "\n")


def load_prm(folder: Path, dtype: str = "auto", plan: LinearPlan | None = None) -> QuantilePRM:
    """The PRM in `folder` under the canonical ops, ready for use, recalibrated where the folder says how.

    dtype: of the backbone, `float32`, `bfloat16` or `auto`, the one it was trained in; the head is in fp32. plan: the
    linear certified for the backbone; None certifies it first. Raises ValueError for a folder that holds no PRM.
    """
    import transformers
    from safetensors.torch import load_file

    register()
    settings = read_settings(folder)
    wanted = dtype if dtype == "auto" else getattr(torch, dtype)
    backbone: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=wanted).eval()
    seam.install(backbone, plan or certify_linear(seam.linear_shapes(backbone), backbone.dtype))
    saved = load_file(folder / HEAD_FILE)
    _require_shape(folder, saved["weight"], (settings.make_family().num_parameters, _hidden_size(backbone)))
    head = QuantileHead(_hidden_size(backbone), saved["bias"].tolist(), backbone.dtype)
    head.load_state_dict(saved)
    seam.repack(head)
    return QuantilePRM(backbone, head, settings, load_recalibration(folder)).eval()


def read_settings(folder: Path) -> PRMSettings:
    """The settings of the PRM in `folder`; no weights are read. Raises ValueError for a folder that holds no PRM."""
    missing = [name for name in (SETTINGS_FILE, HEAD_FILE, "config.json") if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} has no {missing[0]}, so it is no process reward model; train one with train-prm")
    try:
        read = json.loads((folder / SETTINGS_FILE).read_text())
        settings = PRMSettings(**read | {"levels": tuple(read["levels"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / SETTINGS_FILE} does not hold a PRM's settings ({error})") from error
    settings.make_family()
    return settings


def _hidden_size(backbone: Any) -> int:
    size: int = backbone.config.get_text_config().hidden_size
    return size


def _require_shape(folder: Path, weight: torch.Tensor, shape: tuple[int, int]) -> None:
    if tuple(weight.shape) != shape:
        raise ValueError(
            f"the head in {folder / HEAD_FILE} is {tuple(weight.shape)}, its settings and backbone ask for {shape}; "
            "the files are not of one model"
        )
