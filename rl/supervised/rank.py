"""One rank of supervised training: the losses of its shards; `rl.rank` does the rest of the step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels.linear import LinearPlan
from rl.config import OptimizerConfig, TrainerConfig
from rl.rank import Pass, Rank
from rl.supervised.evaluation import Evaluation
from rl.supervised.objective import Objective
from rl.supervised.packing import micro_batches
from rl.supervised.types import Batch, StepResult


@dataclass(frozen=True)
class SupervisedSettings:
    """All that a rank needs to start."""

    model_dir: str
    dtype: str
    """`float32` or `bfloat16`."""
    trainer: TrainerConfig
    optimizer: OptimizerConfig
    objective: Objective

    def certified_plan(self) -> LinearPlan:
        """The linear that is certified on this machine for the objective's model."""
        return self.objective.certify(self.model_dir, self.dtype)

    def make_rank(self, plan: LinearPlan) -> "SupervisedRank":
        """The rank, in a process group that is up."""
        return SupervisedRank(self, plan)


class SupervisedRank(Rank):
    """A rank in a process group that is already up."""

    def __init__(self, settings: SupervisedSettings, plan: LinearPlan):
        super().__init__(settings.objective.load(settings.model_dir, settings.dtype, plan), settings, plan)
        self._settings, self._objective = settings, settings.objective

    def step(self, batch: Batch, learning_rate: float) -> StepResult:
        """What came of the optimizer step on `batch`."""
        progress = Pass()
        with self.ready_to_compute():
            for shard in self._own(batch.shards):
                self._add_shard(progress, self._shares(batch, shard, progress))
        update = self._take(batch.step, progress, learning_rate)
        return StepResult(update.loss, update.grad_norm, update.gradient, self.policy, progress.timings_s)

    def measure(self, evaluation: Evaluation) -> Mapping[str, float]:
        """The figures of the model as it is, measured on rank 0; the others answer with none."""
        with self.ready_to_compute(), torch.no_grad():
            return dict(evaluation.measure(self._model)) if torch.distributed.get_rank() == 0 else {}

    def _shares(self, batch: Batch, shard: tuple[Any, ...], progress: Pass) -> Iterator[torch.Tensor]:
        for examples in micro_batches(shard, self._settings.trainer.micro_batch_tokens):
            with progress.timed("forward"):
                share = self._objective.loss(self._model, examples, batch.totals)
            yield share

    def _write_model(self, folder: Path) -> None:
        self._objective.save(self._model, folder)
