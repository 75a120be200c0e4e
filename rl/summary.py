"""What a run says at its end."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Accuracy:
    """How many of some problems were solved."""

    correct: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.total or self.total == 0:
            raise ValueError(f"an accuracy needs 0 <= correct <= total and a total, got {self.correct} of {self.total}")

    @property
    def share(self) -> float:
        """Solved problems over all, from 0 to 1."""
        return self.correct / self.total

    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % confidence interval of the share (Wilson 1927; Brown, Cai and DasGupta 2001)."""
        # Here and not above: importing scipy.stats takes longer than most commands.
        from scipy.stats import binomtest

        interval = binomtest(self.correct, self.total).proportion_ci(confidence_level=0.95, method="wilson")
        return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class RunSummary:
    """The figures of a run that has ended."""

    before: Accuracy | None
    """On held-out problems, before the first step; None where none were set aside."""
    after: Accuracy | None
    """On the same problems, after the last step."""
    steps: int
    num_tokens: int
    """Completion tokens sampled for training."""
    tokens_per_s: float
    """Those tokens over the time of the steps."""
    num_compared: int
    """Rollout log-probabilities held against the trainer's."""
    num_mismatched: int
    final_hash: str
    run_dir: Path
    wall_s: float
    """Since the last start of the run."""
    from_step: int = 0
    """Where that start went on from."""
    off_policy: str = ""
    """What was off-policy by choice; empty where nothing was."""

    def figures(self) -> dict[str, float]:
        """By name, as a tracker shows them."""
        accuracies = {"held_out/before": self.before, "held_out/after": self.after}
        return {
            "num_tokens": self.num_tokens,
            "tokens_per_s": self.tokens_per_s,
            "num_compared": self.num_compared,
            "num_mismatched": self.num_mismatched,
            "wall_s": self.wall_s,
            **{name: accuracy.share for name, accuracy in accuracies.items() if accuracy},
        }


def render_summary(summary: RunSummary) -> str:
    """Return the summary as aligned plain text, without a newline at its end. The final hash is not in it."""
    return aligned(_accuracy_rows(summary) + _count_rows(summary) + _place_rows(summary.run_dir))


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values in two columns, without a newline at the end."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def render_stopped(run_dir: Path, step: int, total_steps: int) -> str:
    """Return what a run says that was asked to stop: where it goes on from, and with which command."""
    return f"stopped after step {step} of {total_steps}; go on with: zerokl resume {shlex.quote(str(run_dir))}"


def steps_taken(steps: int, from_step: int, wall_s: float) -> str:
    """Return how many steps a run has, and how long those took that came since its last start."""
    if from_step == 0:
        return f"{steps:,} in {minutes(wall_s)}"
    return f"{steps:,}, the last {steps - from_step:,} in {minutes(wall_s)}" if from_step < steps else f"{steps:,}"


def _accuracy_rows(summary: RunSummary) -> list[tuple[str, str]]:
    rows = []
    if summary.before:
        rows.append(("held-out accuracy before", _render_accuracy(summary.before)))
    if summary.after:
        rows.append(("held-out accuracy after", _render_accuracy(summary.after)))
    if summary.before and summary.after:
        rows.append(("gain", f"{100 * (summary.after.share - summary.before.share):+5.1f} points"))
    return rows


def _render_accuracy(accuracy: Accuracy) -> str:
    low, high = accuracy.interval()
    interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    return f"{100 * accuracy.share:5.1f} %  ({accuracy.correct} of {accuracy.total}, {interval})"


def _count_rows(summary: RunSummary) -> list[tuple[str, str]]:
    rows = [
        ("steps", steps_taken(summary.steps, summary.from_step, summary.wall_s)),
        ("tokens", f"{summary.num_tokens:,} at {summary.tokens_per_s:,.0f} tok/s"),
        ("log-probabilities compared", f"{summary.num_compared:,}"),
        ("mismatched", f"{summary.num_mismatched:,}"),
    ]
    return [*rows, ("OFF-POLICY by choice", summary.off_policy)] if summary.off_policy else rows


def _place_rows(run_dir: Path) -> list[tuple[str, str]]:
    places = ("config.yaml", "ledger.jsonl", "metrics.jsonl", "rollouts/", "checkpoints/", "model/")
    return [(place.removesuffix("/").partition(".")[0], f"{run_dir}/{place}") for place in places]


def minutes(seconds: float) -> str:
    """Return a duration to the second: `45 s`, `9 min 05 s`."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole} min {rest:02d} s" if whole else f"{rest} s"
