"""One fit: a family's head and adapters trained on what was drawn, through `rl.supervised`, to a ledger and a model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reward.prm.families import make_family
from reward.prm.fitting import fit_constant
from reward.prm.model import PRMSettings
from rl.prm.checks import MAIN
from rl.prm.config import TrainPRMConfig
from rl.prm.examples import ReadSolution, by_question, outcomes_of
from rl.prm.objective import HeldOutLoss, PRMObjective
from rl.run_folder import RunFolder
from rl.supervised.batches import Epochs
from rl.supervised.job import Job

SOURCES = ("reward.prm", "rl.prm.examples", "rl.prm.lora", "rl.prm.objective")
"""In which an edit can move a bit of a fit."""
VARIANTS = "variants"


@dataclass(frozen=True)
class FitPlan:
    """Which family, on how many rollouts of each prefix."""

    name: str
    family: str
    num_rollouts: int
    recalibrate: bool = True
    """Whether the model is served recalibrated."""

    def folder(self, run: Path) -> RunFolder:
        """Where it lies: the run's own folder for the main one."""
        return RunFolder(run if self.name == MAIN else run / VARIANTS / self.name)


def fit_plans(config: TrainPRMConfig) -> list[FitPlan]:
    """All that the config asks for, the main one first."""
    everything = config.collect.num_rollouts
    plans = [FitPlan(v.name, v.family, v.num_rollouts or everything, v.recalibrate) for v in config.variants]
    return [FitPlan(MAIN, config.prm.family, everything), *plans]


@dataclass(frozen=True)
class Backbone:
    """The checkpoint that is tuned, and the tokenizer that is written beside the model."""

    folder: Path
    tokenizer: Any
    dtype: str


def num_steps(config: TrainPRMConfig, num_questions: int) -> int:
    """Optimizer steps that go through the questions `epochs` times; the last may begin another."""
    return math.ceil(config.epochs * num_questions / config.batch_size)


def job_of(
    config: TrainPRMConfig, plan: FitPlan, backbone: Backbone, parts: Mapping[str, Sequence[ReadSolution]]
) -> Job:
    """The fit as a supervised run. parts: solutions by what their questions are for, counted as `plan` says."""
    objective, questions = _objective(config, plan, parts["train"]), by_question(parts["train"])
    held_out = by_question(parts["calibration"])
    return Job(
        folder=plan.folder(Path(config.run.dir)),
        title=f"{plan.family} on {plan.num_rollouts} rollouts of a prefix",
        model_dir=backbone.folder,
        dtype=backbone.dtype,
        objective=objective,
        batches=Epochs(questions, config.batch_size, config.seed),
        steps=num_steps(config, len(questions)),
        seed=config.seed,
        trainer=config.trainer,
        optimizer=config.optimizer,
        checkpoint=config.checkpoint,
        declared={"prm": asdict(config.prm)},
        sources=SOURCES,
        evaluation=HeldOutLoss(objective, held_out, config.trainer.micro_batch_tokens),
        tokenizer=backbone.tokenizer,
        tracked=config if plan.name == MAIN else None,
    )


def _objective(config: TrainPRMConfig, plan: FitPlan, solutions: Sequence[ReadSolution]) -> PRMObjective:
    prm = config.prm
    family = make_family(plan.family, prm.quantiles)
    return PRMObjective(
        settings=PRMSettings(plan.family, tuple(prm.quantiles), prm.separator, prm.step_token),
        bias=tuple(fit_constant(family, outcomes_of(solutions))),
        tuning=prm.tuning,
        lora_rank=prm.lora_rank,
        lora_alpha=prm.lora_alpha,
        seed=config.seed,
    )
