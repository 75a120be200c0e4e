"""A supervised run: its ranks, its loop, and the way back to its last checkpoint.

examples of the step ── ranks: losses, gradient, optimizer step ── ledger ── metrics ── now and then a checkpoint
"""

import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from rl.checkpoint import Position, save_checkpoint
from rl.clock import Clock
from rl.cluster import ray_cluster
from rl.contract.parts import computed_parts
from rl.contract.recorded import Contracts, Terms
from rl.durable import naming, publish_folder
from rl.errors import bad_input
from rl.interrupt import Stop
from rl.ledger import Ledger
from rl.progress import Progress
from rl.recovery import Recovery
from rl.restore import restore
from rl.schedule import learning_rate
from rl.supervised.contract import declared_parts
from rl.supervised.group import SupervisedGroup
from rl.supervised.job import Job, Summary
from rl.supervised.records import LOSS_KEY, recorded_figures, step_metrics, step_record, step_view
from rl.supervised.types import Batch, StepResult, cut_into_batch
from rl.tracking import NullTracker, Tracker, started_tracker


@dataclass(frozen=True)
class Running:
    """Everything the loop works with; all of it is up."""

    job: Job
    ledger: Ledger
    contracts: Contracts
    trainer: SupervisedGroup
    tracker: Tracker
    progress: Progress
    stop: Stop
    attempt: int
    """Which start of the run this is, from 1."""


def train_supervised(job: Job, *, allow_contract_change: bool = False, stop: Stop | None = None) -> Summary:
    """The summary of the job, once its last step is in the ledger and its model is written.

    A job that was begun goes on from its last checkpoint, to the same final hash; one that has ended is not touched.
    Raises ContractChanged, before anything of it is touched, where it was made under another contract.
    """
    started_at = time.monotonic()
    with ExitStack() as stack:
        progress = stack.enter_context(Progress())
        job.folder.prepare()
        with bad_input():
            cut_into_batch(job.batches.batch(1), job.objective, 1, job.seed, job.trainer.num_shards)
            terms = Terms(job.folder, declared_parts(job), allow_contract_change)
        from_step = job.steps if _has_ended(job) else _train(job, terms, progress, stop or Stop(), stack)
    return _summary(job, time.monotonic() - started_at, from_step)


def _train(job: Job, terms: Terms, progress: Progress, stop: Stop, stack: ExitStack) -> int:
    """The step that the job went on from, once it has ended. What is started here ends with `stack`."""
    started_at = time.monotonic()
    progress.start(job.steps, f"{job.folder.path}: {job.title}")
    progress.phase("starting Ray and the trainer")
    with bad_input():
        stack.enter_context(ray_cluster())
        trainer = SupervisedGroup(job.rank_settings(), say=progress.note)
        stack.callback(trainer.close)
        initial = trainer.start(trainer.certify())
    contracts = terms.settle(computed_parts(trainer.contract(), initial))
    ledger = Ledger(job.folder.ledger_path)
    recovery = Recovery(
        restart=trainer.restart,
        stand=partial(_stand, job, ledger, trainer, progress),
        reached=lambda: ledger.last_step or 0,
        say=progress.note,
    )
    position = recovery.stand()
    attempt = job.folder.begin_attempt(position.step)
    tracker = stack.enter_context(started_tracker(job.tracked, job.folder, attempt)) if job.tracked else NullTracker()
    running = Running(job, ledger, contracts, trainer, tracker, progress, stop, attempt)
    recovery.through(position, lambda position: _train_from(running, position))
    progress.stop()
    trainer.close()
    tracker.finish(_summary(job, time.monotonic() - started_at, position.step), contracts.present.digest)
    return position.step


def _train_from(run: Running, position: Position) -> Position:
    """Where the run stands after its last step, and with its model written."""
    if position.step == 0 and not recorded_figures(run.job.folder, 0):
        _measure(run, 0)
    while position.step < run.job.steps:
        with run.stop.put_off(run.progress.notice):
            position = _step(run, position)
        if run.stop.requested:
            _checkpoint(run, position)
            run.stop.leave()
    run.progress.phase("writing the model")
    _save_model(run)
    return position


def _step(run: Running, position: Position) -> Position:
    job, clock, step = run.job, Clock(), position.step + 1
    rate = learning_rate(step, job.steps, job.optimizer)
    batch = cut_into_batch(job.batches.batch(step), job.objective, step, job.seed, job.trainer.num_shards)
    clock.lap("examples")

    run.progress.phase("training")
    result = run.trainer.step(batch, rate)
    clock.lap("train")

    change = run.contracts.change_since(run.ledger.last_contract)
    ledger_hash = run.ledger.append(step_record(run.contracts.present.digest, batch, result, change))
    clock.lap("ledger")

    position = _advanced(position, batch, result, ledger_hash, clock)
    is_last = step == job.steps
    _note(run, batch, result, rate, clock, is_last)
    if is_last or step % job.checkpoint.every == 0:
        _checkpoint(run, position)
    return position


def _advanced(position: Position, batch: Batch, result: StepResult, ledger_hash: str, clock: Clock) -> Position:
    return Position(
        step=batch.step,
        cursor=position.cursor + batch.totals.num_examples,
        ledger_hash=ledger_hash,
        policy_digest=result.policy.digest,
        num_tokens=position.num_tokens + batch.num_tokens,
        step_time_s=position.step_time_s + clock.total_s,
    )


def _note(run: Running, batch: Batch, result: StepResult, rate: float, clock: Clock, is_last: bool) -> None:
    """Nothing; the step is in the metrics, with the tracker and on the display."""
    metrics = step_metrics(batch, result, rate, clock.laps_s)
    metrics |= {"recovery/trainer": float(run.trainer.num_lost), "run/attempt": float(run.attempt)}
    run.job.folder.append_metrics(batch.step, metrics)
    run.tracker.log(batch.step, metrics)
    evaluation, headline = run.job.evaluation, {}
    if evaluation and (is_last or (evaluation.every > 0 and batch.step % evaluation.every == 0)):
        headline = {evaluation.headline: _measure(run, batch.step)[evaluation.headline]}
    run.progress.step(step_view(batch, result, clock.total_s, headline))


def _measure(run: Running, step: int) -> Mapping[str, float]:
    """What the evaluation finds after `step`, noted in the metrics; empty where the job has none."""
    if run.job.evaluation is None:
        return {}
    run.progress.phase("evaluating")
    figures = run.trainer.measure(run.job.evaluation)
    run.job.folder.append_metrics(step, figures)
    run.tracker.log(step, figures)
    return figures


def _checkpoint(run: Running, position: Position) -> None:
    """Nothing; afterwards the run can go on from `position`."""
    if not run.job.folder.checkpoint_path(position.step).exists():
        save_checkpoint(run.job.folder, position, run.trainer.save, run.job.checkpoint.keep)


def _save_model(run: Running) -> None:
    """Nothing; writes the final model, renamed when whole."""
    final = run.job.folder.model_dir
    unfinished = final.with_name(".model.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    with naming(final):
        unfinished.mkdir()
        run.trainer.save_model(unfinished.resolve())
        if run.job.tokenizer is not None:
            run.job.tokenizer.save_pretrained(unfinished)
        publish_folder(unfinished, final)


def _stand(job: Job, ledger: Ledger, trainer: SupervisedGroup, progress: Progress) -> Position:
    """Where the run goes on; trainer and files stand there."""
    position = restore(job.folder, ledger, trainer, progress.note)
    progress.back_to(position.step)
    return position


def _has_ended(job: Job) -> bool:
    last_step = Ledger(job.folder.ledger_path).last_step
    return last_step == job.steps and job.folder.model_dir.is_dir()


def _summary(job: Job, wall_s: float, from_step: int) -> Summary:
    """Read off what the run has written."""
    records = Ledger(job.folder.ledger_path).records()
    steps = [line for line in job.folder.read_metrics() if LOSS_KEY in line]
    num_tokens = sum(record["num_tokens"] for record in records)
    return Summary(
        steps=len(records),
        num_tokens=num_tokens,
        tokens_per_s=num_tokens / max(sum(line["speed/step_s"] for line in steps), 1e-9),
        loss=steps[-1][LOSS_KEY],
        before=recorded_figures(job.folder, 0),
        after=recorded_figures(job.folder, len(records)),
        final_hash=records[-1]["hash"],
        run_dir=job.folder.path,
        wall_s=wall_s,
        from_step=from_step,
    )
