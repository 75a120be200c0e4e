"""`zerokl doctor`: are this machine, this installation and, where one is named, this config or model fit for a run?

    cheap                                                                                    dear
    versions · machine · left-overs · config · compiled ops · model · resources · certification · parity

Each finding is shown as it comes, with a remedy where not all is well.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rl.doctor.finding import Finding, Verdict

if TYPE_CHECKING:
    from rl.config import Config
    from rl.doctor.model import Model

__all__ = ["Finding", "Verdict", "diagnose", "examine"]


def diagnose(config_path: Path | None, model: str | None, dtype: str) -> bool:
    """Prints every finding of `examine`; whether nothing has to be mended."""
    from rl.doctor.report import Report

    with Report() as report:
        for item in examine(config_path, model, dtype):
            if isinstance(item, Finding):
                report.add(item)
            else:
                report.looking_at(item)
    return report.conclude()


def examine(config_path: Path | None, model: str | None, dtype: str) -> Iterator[Finding | str]:
    """All findings, cheap ones first; a text among them says what is looked at next.

    model: as `model.path`, over which it goes; dtype: `float32`, `bfloat16`, or `auto` for the config's. Without a
    config and a model, the machine and the installation are all there is. Raises UserError for another dtype.
    """
    from rl.doctor.configuration import check_named, read_config, require_dtype, tracker_finding
    from rl.doctor.library import check_library

    require_dtype(dtype)
    yield from _examine_machine()
    config, findings = read_config(config_path) if config_path else (None, [])
    yield from findings
    yield tracker_finding(config.tracker if config else "wandb", os.environ)
    yield "the compiled ops"
    library = list(check_library())
    yield from library
    if config:
        yield from check_named(config)
    path = model or (config.model.path if config else None)
    if path and all(finding.verdict is not Verdict.MEND for finding in library):
        yield from _examine_model(path, config, dtype)


def _examine_machine() -> Iterator[Finding | str]:
    from rl.doctor.leftovers import check_leftovers
    from rl.doctor.machine import check_machine
    from rl.doctor.versions import check_versions

    yield "versions"
    yield from check_versions()
    yield "the machine"
    yield from check_machine()
    yield "what other programs left behind"
    yield from check_leftovers()


def _examine_model(path: str, config: "Config | None", dtype: str) -> Iterator[Finding | str]:
    from rl.doctor.configuration import inputs_finding
    from rl.doctor.library import dtype_finding
    from rl.doctor.model import coverage_finding, read_model
    from rl.doctor.resources import check_resources
    from rl.models import resolved_dtype

    yield f"the model {path}"
    recurrence = config.model.recurrence if config and config.model.path == path else None
    model, finding = read_model(path, config.seed if config else 0, recurrence)
    yield finding
    if model is None:
        return
    max_model_len = config.rollout.max_model_len if config else None
    covered = coverage_finding(model, max_model_len)
    yield covered
    if covered.verdict is Verdict.MEND:
        return
    dtype = resolved_dtype(config.trainer.dtype if config and dtype == "auto" else dtype)
    yield dtype_finding(dtype)
    if config:
        yield from check_resources(config, model, dtype)
        yield inputs_finding(config, path)
    yield from _examine_exactness(model, dtype, max_model_len)


def _examine_exactness(model: "Model", dtype: str, max_model_len: int | None) -> Iterator[Finding | str]:
    from rl.doctor.exactness import certification_finding, other_dtype_finding, parity_finding

    yield "the linear layers, at many row counts, positions and threads"
    certified, plan = certification_finding(model, dtype, max_model_len)
    yield certified
    if plan is None:
        return
    yield other_dtype_finding(model, dtype)
    yield "engine and trainer, bit by bit"
    yield parity_finding(model, dtype, plan)
