"""`zerokl compare`: samples what has not been sampled yet, compares, and writes the report.

config ─ check ─ plan ─> jobs, model by model ─ rl.sample ─> arms/ARM/TASK/ ─ measures, differences ─> report/
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rl.compare.checks import check
from rl.compare.comparison import Comparison, TaskComparison
from rl.compare.config import CompareConfig, render_compare_config
from rl.compare.jobs import ARMS_DIR, Job, by_policy, plan
from rl.compare.measures import Arm, ArmFigures
from rl.compare.models import training_tokens
from rl.compare.report import write_report
from rl.compare.results import read_samples, require_same_questions
from rl.compare.sampling import EngineSampler, Sampler
from rl.compare.savings import savings
from rl.compare.track import track
from rl.compare.verdict import judge
from rl.durable import write_atomically
from rl.errors import UserError
from rl.folder_lock import locked
from rl.progress import duration
from rl.run_folder import RunFolder
from rl.sample.folder import SampleFolder


def compare(config: CompareConfig, make_sampler: Callable[[CompareConfig], Sampler] = EngineSampler) -> None:
    """Nothing; samples, writes the report, and prints its verdicts and where it lies.

    Raises UserError naming everything that is wrong with `config` before anything starts.
    """
    check(config)
    folder = RunFolder(Path(config.run.dir))
    with locked(folder.path):
        comparison = _compared(config, folder, make_sampler(config))
        write_report(comparison, folder.report_dir)
        track(comparison, config, folder)
    for task in comparison.tasks:
        print(judge(task).sentence)
        for saving in savings(task):
            print(f"{task.name}: {saving.sentence}.")
    print(f"report: {folder.report_dir / 'index.html'}", flush=True)


def _compared(config: CompareConfig, folder: RunFolder, sampler: Sampler) -> Comparison:
    """All arms on all tasks, with what had not been sampled sampled."""
    _require_own(folder)
    sampler.require_inputs()
    jobs = plan(config)
    pending = not_done(jobs, sampler)
    write_atomically(folder.config_path, render_compare_config(config))
    if pending:
        with sampler:
            sample_all(pending, sampler)
    return compare_samples(config, jobs)


def not_done(jobs: Sequence[Job], sampler: Sampler) -> list[Job]:
    """The jobs that have to be done, or gone on with.

    Raises UserError for a folder that holds what another config, or another policy of the same name, sampled.
    """
    pending = []
    for job in jobs:
        folder = SampleFolder(job.folder)
        folder.open(sampler.settings(job))
        if not folder.is_complete:
            pending.append(job)
    return pending


def sample_all(jobs: Sequence[Job], sampler: Sampler) -> None:
    """Nothing; does the jobs, those of a policy together, and says on stderr how far it is."""
    started_at, num_done = time.monotonic(), 0
    for own in by_policy(jobs):
        arm = own[0].arm
        depth = "" if arm.recurrence is None else f" at recurrence {arm.recurrence}"
        _say(f"starting engines for {arm.model or 'the base model'}{depth}")
        with sampler.open(arm) as do:
            for job in own:
                do(job)
                num_done += 1
                left_s = (time.monotonic() - started_at) / num_done * (len(jobs) - num_done)
                _say(f"{num_done:>{len(str(len(jobs)))}}/{len(jobs)} {job.name}  {duration(left_s)} left")


def compare_samples(config: CompareConfig, jobs: Sequence[Job]) -> Comparison:
    """What the arms left, measured. Raises UserError where they were not asked the same questions."""
    arms = {
        arm.name: Arm(arm.name, arm.method, bool(arm.model), training_tokens(arm.model), arm.prm) for arm in config.arms
    }
    tasks = tuple(
        TaskComparison(
            task.name,
            task.in_domain,
            tuple(_figures(arms, [job for job in jobs if job.task is task], config.ks)),
            config.base,
        )
        for task in config.tasks
    )
    return Comparison(Path(config.run.dir).name, config.model.path, tasks)


def _figures(arms: dict[str, Arm], jobs: Sequence[Job], ks: Sequence[int]) -> list[ArmFigures]:
    """Those of every arm on one task."""
    samples = {job.arm.name: read_samples(job.folder) for job in jobs}
    require_same_questions(samples, jobs[0].task.name)
    return [ArmFigures(arms[name], found, tuple(sorted(ks))) for name, found in samples.items()]


def _require_own(folder: RunFolder) -> None:
    """Raises UserError where something else than a comparison lies in the folder."""
    if folder.config_path.is_file() and not (folder.path / ARMS_DIR).is_dir():
        raise UserError(f"{folder.path} holds something else than a comparison; give another folder with run.dir=…")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
