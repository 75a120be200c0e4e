"""What a supervised step leaves behind: its ledger record, its metrics, and what a person sees of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from rl.ledger import float_bits
from rl.run_folder import RunFolder
from rl.supervised.batches import digest_examples
from rl.supervised.types import Batch, StepResult
from rl.types import SupervisedRecord

LOSS_KEY = "train/loss"
"""A line of the metrics has it where it is of a step, and has not where it is of an evaluation."""


def step_record(contract: str, batch: Batch, result: StepResult, contract_change: str) -> SupervisedRecord:
    """The ledger record of a step. contract: digest of what decides the bits; what of it changed since the last."""
    return SupervisedRecord(
        step=batch.step,
        contract=contract,
        batch=digest_examples(batch.examples),
        num_tokens=batch.num_tokens,
        loss_bits=float_bits(result.loss),
        grad_norm_bits=float_bits(result.grad_norm),
        gradient=result.gradient,
        weights=result.policy.digest,
        contract_change=contract_change,
    )


def step_metrics(
    batch: Batch, result: StepResult, learning_rate: float, laps_s: Mapping[str, float]
) -> dict[str, float]:
    """What is logged of a step, keys `area/name`; times in seconds."""
    total_s = sum(laps_s.values())
    return {
        LOSS_KEY: result.loss,
        "train/grad_norm": result.grad_norm,
        "train/learning_rate": learning_rate,
        "train/num_tokens": float(batch.num_tokens),
        "speed/step_s": total_s,
        "speed/tokens_per_s": batch.num_tokens / total_s,
        **{f"time/{name}_s": seconds for name, seconds in laps_s.items()},
        **{f"time/train_{name}_s": seconds for name, seconds in result.timings_s.items()},
    }


def recorded_figures(folder: RunFolder, step: int) -> dict[str, float]:
    """What was measured after `step`; empty where nothing was."""
    lines = [line for line in folder.read_metrics() if line["step"] == step and LOSS_KEY not in line]
    return {name: value for name, value in lines[-1].items() if name != "step"} if lines else {}


@dataclass(frozen=True)
class SupervisedView:
    """One step of a supervised run, as far as a person wants to know."""

    step: int
    step_s: float
    tokens_per_s: float
    loss: float
    grad_norm: float
    headline: Mapping[str, float]
    """The figure that was measured after it, by its name; empty where nothing was."""

    def parts(self) -> list[str]:
        """Loss, what was measured, and speed."""
        measured = [f"{name} {value:.3f}" for name, value in self.headline.items()]
        learned = [f"loss {self.loss:.4f}", f"grad norm {self.grad_norm:.3f}", *measured]
        return [*learned, f"{self.tokens_per_s:,.0f} tok/s", f"{self.step_s:.2f} s"]

    def details(self, views: Sequence["SupervisedView"]) -> list[Text]:
        """One line."""
        return [Text("  ".join(self.parts()))]


def step_view(batch: Batch, result: StepResult, step_s: float, headline: Mapping[str, float]) -> SupervisedView:
    """What the progress display shows of a step. headline: what of an evaluation goes into its line."""
    return SupervisedView(batch.step, step_s, batch.num_tokens / step_s, result.loss, result.grad_norm, headline)
