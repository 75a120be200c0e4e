"""The loop: one screen that is the system."""

import time
from dataclasses import dataclass

from rl import weight_sync
from rl.batching import cut_into_shards
from rl.checkpoint import Position, save_checkpoint
from rl.clock import Clock
from rl.collect import collect
from rl.evaluation.held_out import accuracy_metrics, evaluate, recorded_accuracy
from rl.records import sample_rollouts, samples_due, step_metrics, step_record, step_view
from rl.run import Session, save_model
from rl.schedule import learning_rate
from rl.summary import Accuracy, RunSummary
from rl.types import ScoredGroup, StepProof, TrainingBatch


@dataclass(frozen=True)
class Taken:
    """A step that is in the ledger."""

    position: Position
    """Where the run stands after it."""
    batch: TrainingBatch
    proof: StepProof
    clock: Clock
    metrics: dict[str, float]
    """Of process rewards."""


def train(run: Session) -> RunSummary:
    """The summary of the run, once its last step is in the ledger and the model is written."""
    position = run.recovery.through(run.position, lambda position: _train_from(run, position))
    records = run.ledger.records()
    return RunSummary(
        before=recorded_accuracy(run.folder, 0),
        after=recorded_accuracy(run.folder, position.step),
        steps=position.step,
        num_tokens=position.num_tokens,
        tokens_per_s=position.num_tokens / max(position.step_time_s, 1e-9),
        num_compared=sum(record["num_tokens"] for record in records),
        num_mismatched=sum(record["num_mismatched"] for record in records),
        off_policy=records[-1].get("off_policy", "") if records else "",
        final_hash=position.ledger_hash,
        run_dir=run.folder.path,
        wall_s=time.monotonic() - run.started_at,
        from_step=run.position.step,
    )


def _train_from(run: Session, position: Position) -> Position:
    """Where the run stands after its last step, and with its model written."""
    if position.step == 0 and recorded_accuracy(run.folder, 0) is None:
        _evaluate(run, 0)
    while position.step < run.config.steps:
        with run.stop.put_off(run.progress.notice):
            position = _step(run, position, is_last=position.step + 1 == run.config.steps)
        if run.stop.requested:
            _checkpoint(run, position)
            run.stop.leave()
    run.progress.phase("writing the model")
    save_model(run)
    return position


def take_step(run: Session, position: Position) -> Taken:
    """The step after `position`, from sampling to its line in the ledger: all that decides a bit."""
    config, clock = run.config, Clock()
    step = position.step + 1

    run.progress.phase("sampling")
    collected = collect(run, position.cursor, clock)

    advantages = run.algorithm.advantages(collected.groups, run.sampling.max_new_tokens)
    credited = run.credit.credited(step, collected.groups)
    scored = [
        ScoredGroup(g.group, g.rewards, a, c)
        for g, a, c in zip(collected.groups, advantages, credited.advantages, strict=True)
    ]
    batch = TrainingBatch(
        step=step,
        policy=scored[0].group.policy,
        temperature=run.sampling.temperature,
        max_new_tokens=run.sampling.max_new_tokens,
        shards=cut_into_shards(scored, config.trainer.num_shards),
    )
    clock.lap("score")

    run.progress.phase("training")
    proof = run.trainer.step(batch, learning_rate(step, config.steps, config.optimizer))
    clock.lap("train")

    weight_sync.publish(run.trainer, run.pool, proof.policy)
    clock.lap("sync")

    change = run.contracts.change_since(run.ledger.last_contract)
    ledger_hash = run.ledger.append(step_record(run.contracts.present.digest, batch, proof, change))
    run.folder.write_rollouts(step, batch, proof)
    clock.lap("ledger")

    num_tokens = position.num_tokens + proof.num_tokens
    step_time_s = position.step_time_s + clock.total_s
    cursor = position.cursor + collected.num_prompts
    position = Position(step, cursor, ledger_hash, proof.policy.digest, num_tokens, step_time_s)
    return Taken(position, batch, proof, clock, credited.metrics)


def _step(run: Session, position: Position, is_last: bool) -> Position:
    config, taken = run.config, take_step(run, position)
    position, batch, proof, clock = taken.position, taken.batch, taken.proof, taken.clock
    step = position.step
    held_out = _evaluate(run, step) if is_last or _is_due(step, config.evaluation.every) else None
    metrics = step_metrics(batch, proof, clock.laps_s) | taken.metrics | run.losses() | {"run/attempt": run.attempt}
    run.folder.append_metrics(step, metrics)
    run.tracker.log(step, metrics)
    if samples_due(step, config.steps, config.tracking.samples_every):
        run.tracker.log_samples(step, sample_rollouts(batch, config.seed))
    run.progress.step(step_view(batch, proof, clock.total_s, held_out))
    if is_last or _is_due(step, config.checkpoint.every):
        _checkpoint(run, position)
    return position


def _checkpoint(run: Session, position: Position) -> None:
    """Nothing; afterwards the run can go on from `position`."""
    if not run.folder.checkpoint_path(position.step).exists():
        run.progress.phase("writing a checkpoint")
        save_checkpoint(run.folder, position, run.save_state, run.config.checkpoint.keep)


def _evaluate(run: Session, step: int) -> Accuracy | None:
    """Held-out accuracy at `step`, noted in the metrics; None where no problems were held out."""
    if not run.held_out:
        return None
    run.progress.phase(f"evaluating {len(run.held_out)} held-out problems")
    accuracy = evaluate(run.pool, run.rubric, run.held_out, run.evaluation)
    run.folder.append_metrics(step, accuracy_metrics(accuracy))
    run.tracker.log(step, accuracy_metrics(accuracy))
    return accuracy


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
