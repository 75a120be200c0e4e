"""From a config to a reward model and its report. What was done in the run's folder is not done again.

questions ── draw.py ──> data/ ── fit.py, for the main fit and each variant ──> model/ ── measure.py ──> report/
"""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.cluster import ray_cluster
from rl.contract.free_keys import FREE_KEYS, KEPT_KEYS, require_free
from rl.durable import committed_lines, naming, write_atomically
from rl.errors import UserError, bad_input
from rl.folder_lock import locked
from rl.interrupt import Stop, stoppable
from rl.models import resolved_dtype
from rl.prm.checks import PARTS
from rl.prm.config import KIND, TrainPRMConfig, load_prm_config, render_prm_config
from rl.prm.draw import data_folder, deciding, draw_data
from rl.prm.examples import Counting, ReadSolution, read_solutions
from rl.prm.fit import FitPlan, fit_plans, job_of
from rl.prm.folder import QuestionData
from rl.prm.inputs import Inputs, read_inputs
from rl.prm.measure import Fitted, Measured, measure
from rl.prm.report import write_report
from rl.prm.summary import render
from rl.resume import require_no_other
from rl.run_folder import RunFolder
from rl.supervised.run import train_supervised


def start(config: TrainPRMConfig) -> None:
    """Nothing; the run has ended, or was stopped, and said so on stdout. It goes on where one was interrupted."""
    config.trainer.dtype = resolved_dtype(config.trainer.dtype)
    with locked(Path(config.run.dir)):
        with bad_input():
            begin(config)
        print(render_prm_config(config), file=sys.stderr)
        _run(config)


def resume(run_dir: Path, overrides: Sequence[str] = (), allow_contract_change: bool = False) -> None:
    """Nothing; a run that was interrupted has ended, or was stopped again, and said so on stdout.

    overrides: of keys that decide no bit; they hold for this time and are not written down.
    """
    folder = RunFolder(run_dir)
    folder.require()
    free = require_free(overrides, FREE_KEYS + KEPT_KEYS, "resume")
    _run(load_prm_config(folder.config_path, [f"run.dir={run_dir}", *free]), allow_contract_change)


def train_prm(config: TrainPRMConfig, allow_contract_change: bool = False, stop: Stop | None = None) -> Measured:
    """What is in the report, when models and report are written. The folder of the run was begun.

    Raises UserError for what is wrong with the inputs, before an engine starts.
    """
    with bad_input():
        inputs = read_inputs(config)
        num_done = data_folder(config).open(deciding(config, inputs), allow_contract_change)
    with ray_cluster():
        questions = draw_data(config, inputs, num_done)
        fitted = []
        for plan in fit_plans(config):
            parts = solutions_of(questions, config, inputs, plan)
            job = job_of(config, plan, inputs.backbone, parts)
            summary = train_supervised(job, allow_contract_change=allow_contract_change, stop=stop)
            fitted.append(Fitted(plan, summary, parts))
        measured = measure(config, inputs, questions, fitted)
    write_report(measured, RunFolder(Path(config.run.dir)).report_dir)
    return measured


def begin(config: TrainPRMConfig) -> RunFolder:
    """The run's folder with the resolved config in it. Raises UserError where it holds what another config made.

    What decides no bit, such as the number of actors, may be another; so may all, while nothing was drawn.
    """
    folder = RunFolder(Path(config.run.dir))
    with naming(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    require_no_other(folder.path, KIND)
    made = (data_folder(config).questions_path, folder.ledger_path)
    if not folder.config_path.is_file() or not any(map(committed_lines, made)):
        write_atomically(folder.config_path, render_prm_config(config))
    elif _deciding(load_prm_config(folder.config_path)) != _deciding(config):
        raise UserError(
            f"{folder.path} holds a run of another config ({folder.config_path}); give another folder with run.dir=…"
        )
    return folder


def solutions_of(
    questions: Sequence[QuestionData], config: TrainPRMConfig, inputs: Inputs, plan: FitPlan
) -> Mapping[str, tuple[ReadSolution, ...]]:
    """The solutions by what their questions are for.

    A fit learns from, and is calibrated on, as many rollouts of a prefix as its plan says; all are measured on all.
    """
    found = {}
    for part in PARTS:
        num_rollouts = config.collect.num_rollouts if part == "test" else plan.num_rollouts
        own = [question for question in questions if question.prompt_id in frozenset(inputs.parts[part])]
        found[part] = tuple(read_solutions(own, inputs.cutter, Counting(config.collect.success_at, num_rollouts)))
    return found


def _run(config: TrainPRMConfig, allow_contract_change: bool = False) -> None:
    with stoppable() as stop:
        measured = train_prm(config, allow_contract_change, stop)
        print(render(measured))
        print(f"final hash: {measured.fits[0].fitted.summary.final_hash}", flush=True)
    if stop.requested:
        print(f"stopped; go on with: zerokl resume {shlex.quote(config.run.dir)}", flush=True)


def _deciding(config: TrainPRMConfig) -> dict[str, Any]:
    """The config without what decides no bit, and without where the run lies."""
    tree = dataclasses.asdict(config)
    for key in ("run.dir", *FREE_KEYS, *KEPT_KEYS):
        *area, name = key.split(".")
        (tree.get(area[0], {}) if area else tree).pop(name, None)
    return tree
