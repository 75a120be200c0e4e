"""Supervised training as its loop sees it: DeepSpeed ranks in Ray actors behind one `step`."""

from collections.abc import Mapping

import ray

from rl.supervised.evaluation import Evaluation
from rl.supervised.types import Batch, StepResult
from rl.trainer_group import RankGroup


class SupervisedGroup(RankGroup):
    """The ranks of a supervised run. `start` before anything else."""

    def step(self, batch: Batch, learning_rate: float) -> StepResult:
        """What came of one optimizer step on `batch`."""
        within_s = self._deadlines.train_s(batch.num_tokens)
        result: StepResult = self._all("training", within_s, "step", ray.put(batch), learning_rate)
        return result

    def measure(self, evaluation: Evaluation) -> Mapping[str, float]:
        """The figures of the weights as they are."""
        within_s = self._deadlines.train_s(evaluation.num_tokens)
        figures: Mapping[str, float] = self._all("measuring", within_s, "measure", evaluation)
        return figures
