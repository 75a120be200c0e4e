"""Finds the model, says what it is, and whether the canonical ops cover it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.doctor.finding import Finding, mend, refused

OTHER_MODEL = "take another checkpoint; docs/guarantee.md says what is covered"


@dataclass(frozen=True)
class Model:
    """A checkpoint that is there, and its shape."""

    path: str
    """As in `model.path`."""
    folder: Path
    skeleton: Any
    """The Hugging Face model on torch's meta device: modules and shapes without weights."""


def read_model(path: str, seed: int, recurrence: int | None = None) -> tuple[Model | None, Finding]:
    """The model that `path` names, made or fetched where it has to be (None where there is none), and a finding.

    recurrence: as `model.recurrence`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from kernels.recurrent.registration import register
    from rl.models import MODEL_CACHE, resolve_model
    from rl.recurrent.checkpoint import at_recurrence, described

    register()
    try:
        folder = at_recurrence(resolve_model(path, MODEL_CACHE, seed=seed), recurrence, MODEL_CACHE).resolve()
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    except (ValueError, OSError) as error:
        return None, refused("model", str(error).partition("\n")[0], OTHER_MODEL)
    size = f"{skeleton.num_parameters() / 1e6:,.1f} million parameters"
    what = ", ".join(filter(None, (skeleton.config.model_type, size, described(skeleton.config))))
    return Model(path, folder, skeleton), Finding("model", f"{what}, in {folder}")


def coverage_finding(model: Model, max_model_len: int | None) -> Finding:
    """A finding on whether the model can be exact at all, as far as its config and modules tell.

    max_model_len: the longest sequence there will be; None is the model's own limit.
    """
    from kernels.coverage import uncovered

    reasons = uncovered(model.skeleton, max_model_len)
    if reasons:
        return mend("coverage", "; ".join(reasons), OTHER_MODEL)
    return Finding("coverage", "every part of its forward pass goes through canonical ops")
