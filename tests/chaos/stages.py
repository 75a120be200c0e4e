"""The stages of a run at which a fault can strike: functions of the product, seen from outside."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _always(*args: Any, **kwargs: Any) -> bool:
    return True


def _moves_a_checkpoint(source: Any, target: Any, **kwargs: Any) -> bool:
    return Path(target).name.startswith("step_")


def _deletes_a_checkpoint(path: Any, *args: Any, **kwargs: Any) -> bool:
    """One that is there: a call that only clears the way deletes nothing."""
    return Path(path).name.startswith(".step_") and Path(path).exists()


@dataclass(frozen=True)
class Stage:
    """A function that the run goes through at each step, or as it begins or ends."""

    name: str
    function: str
    """Where the product calls it from, as `module:attribute`."""
    usual_s: float
    """About how long it takes on the tiny model."""
    is_this: Callable[..., bool] = _always
    """Whether a call with these arguments is the stage: some functions serve others too."""
    is_start: bool = False
    """It comes once, before the first step."""
    follows: str = ""
    """The victim without whose loss no run goes through this stage."""


_ALL = (
    Stage("start trainer", "rl.trainer_group:TrainerGroup.start", 5.0, is_start=True),
    Stage("start engines", "rollout.pool:RolloutPool.start", 8.0, is_start=True),
    Stage("restore", "rl.trainer_group:TrainerGroup.load", 0.1, follows="driver"),
    Stage("replace an actor", "rollout.pool:RolloutPool._replace", 8.0, follows="rollout actor"),
    Stage("restart the trainer", "rl.trainer_group:TrainerGroup.restart", 8.0, follows="trainer rank"),
    Stage("publish weights", "rl.weight_sync:publish", 0.1),
    Stage("evaluate", "rl.loop:evaluate", 0.3),
    Stage("sample", "rollout.pool:RolloutPool.generate", 0.3),
    Stage("score", "reward.rubric:Rubric.score", 0.02),
    Stage("train", "rl.trainer_group:TrainerGroup.step", 0.3),
    Stage("append to ledger", "rl.ledger:Ledger.append", 0.002),
    Stage("write rollouts", "rl.run_folder:RunFolder.write_rollouts", 0.005),
    Stage("checkpoint: state", "rl.trainer_group:TrainerGroup.save", 0.05),
    Stage("checkpoint: manifest", "rl.checkpoint:write_atomically", 0.002),
    Stage("checkpoint: rename", "os:rename", 0.001, _moves_a_checkpoint),
    Stage("checkpoint: delete", "shutil:rmtree", 0.001, _deletes_a_checkpoint),
    Stage("write model", "rl.loop:save_model", 0.3),
)

STAGES = {stage.name: stage for stage in _ALL}


def records_in(ledger: Path) -> int:
    """Lines that were committed to a ledger; 0 where there is none."""
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0
