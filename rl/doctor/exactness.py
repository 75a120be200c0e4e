"""Whether a model comes out exact here: its linear layers certified, then engine and trainer compared bit by bit."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl.doctor.finding import Finding, mend, refused, warn
from rl.doctor.model import OTHER_MODEL, Model

if TYPE_CHECKING:
    from kernels.linear import LinearPlan

DTYPES = ("float32", "bfloat16")
SPOT_ROWS = (*range(1, 18), 33, 64)
"""Row counts tried in the dtype that is not used."""
REPORT_IT = "this machine is not covered: please report the lines above with the model's name"


def certification_finding(model: Model, dtype: str, max_model_len: int | None) -> tuple[Finding, "LinearPlan | None"]:
    """A finding on the linear layers in the dtype of a run, tried as a run tries them, and the plan that holds.

    max_model_len: the longest sequence there will be; None is the model's own limit.
    """
    from kernels.certify import ROW_COUNTS, CertificationError
    from kernels.seam import linear_shapes
    from rl.canonical_model import certified_plan

    subject = f"linear, {dtype}"
    try:
        plan = certified_plan(str(model.folder), dtype, max_model_len)
    except CertificationError as error:
        return refused(subject, str(error), OTHER_MODEL), None
    return Finding(subject, _in_words(plan, len(linear_shapes(model.skeleton)), ROW_COUNTS)), plan


def other_dtype_finding(model: Model, dtype: str) -> Finding:
    """A finding on the linear layers in the dtype that is not `dtype`.

    At fewer row counts, because a processor that emulates bf16 takes its time and no run is about to use it.
    """
    import torch

    from kernels.certify import CertificationError, certify_linear
    from kernels.seam import linear_shapes

    other = next(name for name in DTYPES if name != dtype)
    subject, shapes = f"linear, {other}", linear_shapes(model.skeleton)
    try:
        plan = certify_linear(shapes, getattr(torch, other), row_counts=SPOT_ROWS)
    except CertificationError as error:
        return warn(subject, str(error).partition("; ")[0], f"keep trainer.dtype at {dtype}")
    return Finding(subject, _in_words(plan, len(shapes), SPOT_ROWS))


def parity_finding(model: Model, dtype: str, plan: "LinearPlan") -> Finding:
    """A finding on the engine against the trainer's forward pass: every log-probability in all bits.

    plan: the certified linear.
    """
    from ray.exceptions import RayError

    from rl.errors import root_cause
    from rl.parity import check_parity

    subject = f"parity, {dtype}"
    try:
        report = check_parity(model.folder, dtype, plan)
    except (ValueError, RuntimeError, OSError, RayError) as error:
        return mend(subject, str(root_cause(error)), OTHER_MODEL)
    found = f"{report.num_mismatched:,} of {report.num_tokens:,} log-probabilities differ, after {report.seconds:.0f} s"
    if report.num_mismatched or report.problems:
        return mend(subject, "; ".join((found, *report.problems)), REPORT_IT)
    return Finding(subject, found)


def _in_words(plan: "LinearPlan", num_shapes: int, row_counts: Sequence[int]) -> str:
    from kernels.linear import CANDIDATES

    rows = f" in multiples of {plan.row_multiple} rows" if plan.row_multiple > 1 else ""
    threads = " and ".join(str(count) for count in sorted({1, os.cpu_count() or 1}))
    faster = CANDIDATES.index(plan)
    return (
        f"{plan.op}{rows} keeps every row's bits in {num_shapes} shapes, at {len(row_counts)} row counts up to "
        f"{max(row_counts)} and as many positions, on {threads} threads"
        + (f"; {faster} faster do not" if faster else "")
    )
