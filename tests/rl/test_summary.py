import math
from pathlib import Path

import pytest

from rl.summary import Accuracy, RunSummary, render_stopped, render_summary, steps_taken


def summary(before: Accuracy | None, after: Accuracy | None) -> RunSummary:
    return RunSummary(before, after, 40, 73112, 412.4, 73112, 0, "ab" * 32, Path("runs/demo"), 605.0)


def wilson(correct: int, total: int) -> tuple[float, float]:
    z, share = 1.959963984540054, correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return centre - half, centre + half


@pytest.mark.parametrize(("correct", "total"), [(16, 200), (123, 200), (0, 50), (50, 50)])
def test_the_interval_is_wilsons(correct: int, total: int) -> None:
    assert Accuracy(correct, total).interval() == pytest.approx(wilson(correct, total), abs=1e-12)


def test_an_accuracy_of_nothing_is_refused() -> None:
    for correct, total in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="0 <= correct <= total"):
            Accuracy(correct, total)


@pytest.mark.parametrize(
    ("from_step", "told"), [(0, "40 in 10 min 05 s"), (28, "40, the last 12 in 10 min 05 s"), (40, "40")]
)
def test_the_time_is_that_of_the_steps_since_the_last_start(from_step: int, told: str) -> None:
    assert steps_taken(40, from_step, 605.0) == told


def test_a_summary_reads_so() -> None:
    assert render_summary(summary(Accuracy(16, 200), Accuracy(123, 200))).splitlines() == [
        "held-out accuracy before      8.0 %  (16 of 200, 95 % interval 5.0 to 12.6)",
        "held-out accuracy after      61.5 %  (123 of 200, 95 % interval 54.6 to 68.0)",
        "gain                        +53.5 points",
        "steps                       40 in 10 min 05 s",
        "tokens                      73,112 at 412 tok/s",
        "log-probabilities compared  73,112",
        "mismatched                  0",
        "config                      runs/demo/config.yaml",
        "ledger                      runs/demo/ledger.jsonl",
        "metrics                     runs/demo/metrics.jsonl",
        "rollouts                    runs/demo/rollouts/",
        "checkpoints                 runs/demo/checkpoints/",
        "model                       runs/demo/model/",
    ]


def test_a_loss_of_accuracy_is_shown_as_one() -> None:
    assert "gain                        -10.0 points" in render_summary(summary(Accuracy(4, 10), Accuracy(3, 10)))


def test_a_run_without_held_out_problems_says_nothing_of_them() -> None:
    text = render_summary(summary(None, None))
    assert "accuracy" not in text and "gain" not in text and text.startswith("steps")
    assert "gain" not in render_summary(summary(Accuracy(1, 2), None))


def test_a_stopped_run_says_the_command_that_goes_on() -> None:
    assert render_stopped(Path("runs/demo"), 12, 40) == (
        "stopped after step 12 of 40; go on with: zerokl resume runs/demo"
    )
    assert render_stopped(Path("my run"), 0, 40).endswith("zerokl resume 'my run'")
