"""`zerokl pretrain`: from a config to a model, a ledger and a report; and going on with one that was interrupted."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rl.checkpoint import reached_step
from rl.contract.free_keys import require_free
from rl.durable import write_atomically
from rl.errors import bad_input
from rl.folder_lock import locked
from rl.interrupt import Stop, stoppable
from rl.models import resolved_dtype
from rl.pretrain.config import KIND, PretrainConfig, load_pretrain_config, render_pretrain_config
from rl.pretrain.inputs import job_of, read_inputs
from rl.pretrain.report import points_of, render_accuracy, write_report
from rl.resume import require_no_other
from rl.run_folder import RunFolder
from rl.summary import render_stopped
from rl.supervised.free_keys import SUPERVISED_FREE_KEYS
from rl.supervised.job import Summary
from rl.supervised.run import train_supervised
from rl.supervised.summary import render_supervised


def begin(config: PretrainConfig) -> RunFolder:
    """The folder of a new run, with its resolved config. Raises UserError where another run has begun."""
    config.trainer.dtype = resolved_dtype(config.trainer.dtype)
    folder = RunFolder(Path(config.run.dir))
    require_no_other(folder.path, KIND)
    folder.create()
    write_atomically(folder.config_path, render_pretrain_config(config))
    return folder


def start(config: PretrainConfig) -> None:
    """Nothing; a new run has ended, or was stopped, and said so on stdout."""
    with locked(Path(config.run.dir)):
        folder = begin(config)
        print(render_pretrain_config(config), file=sys.stderr)
        _run(config, folder)


def resume(run_dir: Path, overrides: Sequence[str] = (), allow_contract_change: bool = False) -> None:
    """Nothing; a run that was interrupted has ended, or was stopped again, and said so on stdout.

    overrides: of keys that decide no bit; they hold for this time and are not written down.
    """
    folder = RunFolder(run_dir)
    folder.require()
    free = require_free(overrides, SUPERVISED_FREE_KEYS, "resume")
    _run(load_pretrain_config(folder.config_path, [f"run.dir={run_dir}", *free]), folder, allow_contract_change)


def pretrain(
    config: PretrainConfig, folder: RunFolder, allow_contract_change: bool = False, stop: Stop | None = None
) -> Summary:
    """The summary of the run, once its model and its report are written."""
    with bad_input():
        inputs = read_inputs(config)
        job = job_of(config, inputs, folder)
    summary = train_supervised(job, allow_contract_change=allow_contract_change, stop=stop)
    write_report(config, inputs, summary)
    return summary


def _run(config: PretrainConfig, folder: RunFolder, allow_contract_change: bool = False) -> None:
    with stoppable() as stop:
        summary = pretrain(config, folder, allow_contract_change, stop)
        print(render_accuracy(points_of(summary.after, config.evaluation.num_problems)))
        print(render_supervised(summary))
        print(f"final hash: {summary.final_hash}", flush=True)
    if stop.requested:
        print(render_stopped(folder.path, reached_step(folder), config.steps), flush=True)
