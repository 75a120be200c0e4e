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
from rl.compare.jobs import Job, by_policy, plan
from rl.compare.measures import Arm, ArmFigures
from rl.compare.models import final_weights, training_tokens
from rl.compare.report import write_report
from rl.compare.results import read_samples, require_same_questions
from rl.compare.sampling import EngineSampler, Sampler
from rl.compare.savings import savings
from rl.compare.track import track
from rl.compare.verdict import judge
from rl.durable import write_atomically
from rl.errors import UserError
from rl.progress import duration
from rl.run_folder import RunFolder
from rl.sample.folder import SampleFolder


def compare(config: CompareConfig, make_sampler: Callable[[CompareConfig], Sampler] = EngineSampler) -> None:
    """Nothing; samples, writes the report, and prints its verdicts and where it lies.

    Raises UserError naming everything that is wrong with `config` before anything starts.
    """
    check(config)
    folder = RunFolder(Path(config.run.dir))
    jobs, sampler = plan(config), make_sampler(config)
    pending = not_done(config, jobs, sampler)
    write_atomically(folder.config_path, render_compare_config(config))
    if pending:
        with sampler:
            sample_all(pending, sampler)
    comparison = compare_samples(config, jobs)
    write_report(comparison, folder.report_dir)
    track(comparison, config, folder)
    for task in comparison.tasks:
        print(judge(task).sentence)
        for saving in savings(task):
            print(f"{task.name}: {saving.sentence}.")
    print(f"report: {folder.report_dir / 'index.html'}", flush=True)


def not_done(config: CompareConfig, jobs: Sequence[Job], sampler: Sampler) -> list[Job]:
    """The jobs that have to be done, or gone on with.

    Raises UserError for a folder that holds what another config, or another policy of the same name, sampled.
    """
    pending = []
    for job in jobs:
        folder = SampleFolder(job.folder)
        folder.open(sampler.settings(job))
        if folder.is_complete:
            _require_current_policy(job, config.dtype)
        else:
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


def _require_current_policy(job: Job, dtype: str) -> None:
    """Raises UserError where the run behind the arm has ended with other weights since."""
    weights = final_weights(job.arm.model, dtype)
    if weights and read_samples(job.folder).policy != weights:
        raise UserError(
            f"{job.folder} holds samples of other weights than those that {job.arm.model} ended with; "
            f"remove {job.folder.parent}, or give another folder with run.dir=…"
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
