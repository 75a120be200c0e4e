"""Held-out accuracy: the same prompts, the same sampling and the same grader each time."""

from collections.abc import Sequence

from reward.rubric import Rubric
from rl.run_folder import RunFolder
from rl.summary import Accuracy
from rollout.pool import RolloutPool
from rollout.types import Prompt, SamplingParams


def evaluate(pool: RolloutPool, rubric: Rubric, prompts: Sequence[Prompt], params: SamplingParams) -> Accuracy:
    """How many prompts the current policy solves with one completion each."""
    groups = pool.generate(prompts, params, group_size=1)
    rewards = rubric.score(groups)
    return Accuracy(sum(group[0].is_correct for group in rewards), len(prompts))


def accuracy_metrics(accuracy: Accuracy) -> dict[str, float]:
    """What is logged of an evaluation, keys `area/name`."""
    low, high = accuracy.interval()
    return {
        "held_out/accuracy": accuracy.share,
        "held_out/correct": float(accuracy.correct),
        "held_out/total": float(accuracy.total),
        "held_out/low": low,
        "held_out/high": high,
    }


def recorded_accuracy(folder: RunFolder, step: int) -> Accuracy | None:
    """The accuracy that was logged at `step`; None where none was."""
    for metrics in folder.read_metrics():
        if metrics["step"] == step and "held_out/total" in metrics:
            return Accuracy(int(metrics["held_out/correct"]), int(metrics["held_out/total"]))
    return None
