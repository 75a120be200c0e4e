"""A supervised run before it starts, and after it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.config import CheckpointConfig, OptimizerConfig, TrainerConfig
from rl.run_folder import RunFolder
from rl.supervised.batches import Batches
from rl.supervised.evaluation import Evaluation
from rl.supervised.objective import Objective
from rl.supervised.rank import SupervisedSettings
from rl.tracking import TrackedConfig


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that `train_supervised` needs to know."""

    folder: RunFolder
    """A run's own, or one inside another's. It is made where it is not there."""
    title: str
    """What the progress display calls it."""
    model_dir: Path
    """A Hugging Face checkpoint."""
    dtype: str
    """`float32` or `bfloat16`."""
    objective: Objective
    batches: Batches
    steps: int
    seed: int
    trainer: TrainerConfig
    optimizer: OptimizerConfig
    checkpoint: CheckpointConfig
    declared: Mapping[str, Any] = field(default_factory=dict)
    """Further parts of the contract, as JSON can hold them."""
    sources: tuple[str, ...] = ()
    """Further modules, and packages, in which an edit can move a bit."""
    evaluation: Evaluation | None = None
    tokenizer: Any = None
    """Written beside the final model."""
    tracked: TrackedConfig | None = None
    """Settings to be filed under, tracker among them; None is for nobody to watch."""

    def rank_settings(self) -> SupervisedSettings:
        """What its ranks need."""
        return SupervisedSettings(
            str(self.model_dir.resolve()), self.dtype, self.trainer, self.optimizer, self.objective
        )


@dataclass(frozen=True)
class Summary:
    """The figures of a supervised run that has ended."""

    steps: int
    num_tokens: int
    """Read in training."""
    tokens_per_s: float
    """Those tokens over the time of the steps."""
    loss: float
    """Of the last step."""
    before: Mapping[str, float]
    """What was measured before the first step, by `area/name`; empty where nothing was."""
    after: Mapping[str, float]
    """The same after the last step."""
    final_hash: str
    run_dir: Path
    wall_s: float
    """Since the last start of the run."""
    from_step: int
    """Where that start went on from."""
    off_policy: str = ""
    """Nothing here has a policy to be off."""

    def figures(self) -> dict[str, float]:
        """By name, as a tracker shows them."""
        figures = {"num_tokens": self.num_tokens, "tokens_per_s": self.tokens_per_s, "wall_s": self.wall_s}
        return figures | {"loss": self.loss} | dict(self.after)
