"""The jobs of a comparison as samplings: `rl.sample` does them, on engines that stay up for all jobs of a model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from reward.rubric import Rubric
from rl.compare.config import ArmConfig, CompareConfig
from rl.compare.jobs import Job
from rl.compare.models import checkpoint
from rl.config import ModelConfig, RunConfig
from rl.errors import bad_input
from rl.evaluation.progress import EvalProgress
from rl.sample.config import SampleConfig
from rl.sample.folder import SampleFolder, Settings


class Sampler(Protocol):
    """Does jobs while it is entered."""

    def __enter__(self) -> object: ...

    def __exit__(self, *exception: object) -> None: ...

    def require_inputs(self) -> None:
        """Nothing; raises UserError for models, PRMs or questions that cannot be had."""
        ...

    def settings(self, job: Job) -> Settings:
        """What decides what the job samples, as it is written to its folder."""
        ...

    def open(self, arm: ArmConfig) -> AbstractContextManager[Callable[[Job], object]]:
        """What does jobs of the arm's model at its depth: afterwards a job's folder is complete."""
        ...


class EngineSampler:
    """Does jobs on vLLM. Leaving it ends the graders and Ray."""

    def __init__(self, config: CompareConfig) -> None:
        self._config, self._stack = config, ExitStack()

    def __enter__(self) -> "EngineSampler":
        from rl.cluster import ray_cluster  # here, for it brings Ray

        with ExitStack() as stack:
            with bad_input():
                self._rubric = stack.enter_context(Rubric(self._config.reward))
            self._rubric.warm_up()
            stack.enter_context(ray_cluster())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def require_inputs(self) -> None:
        """Nothing; raises UserError for models, PRMs or questions that cannot be had."""
        from rl.compare.inputs import require_inputs

        require_inputs(self._config)

    def settings(self, job: Job) -> Settings:
        """What decides what the job samples, as it is written to its folder."""
        from rl.sample.origin import settings_of  # here, for it brings torch

        return settings_of(sample_config(self._config, job))

    @contextmanager
    def open(self, arm: ArmConfig) -> Iterator[Callable[[Job], object]]:
        """What does jobs of the arm's model at its depth, on engines that are up."""
        from rl.sample.engines import engines
        from rl.sample.run import sample_into

        config = self._config
        model, base = models_of(config, arm)
        with engines(model, base, config.dtype, config.rollout, config.seed, config.timeout_s) as up:

            def do(job: Job) -> object:
                with EvalProgress(job.name, job.task.num_questions) as progress:
                    return sample_into(SampleFolder(job.folder), sample_config(config, job), up, self._rubric, progress)

            yield do


def sample_config(config: CompareConfig, job: Job) -> SampleConfig:
    """What `zerokl sample` would be given to do the job."""
    model, base = models_of(config, job.arm)
    return SampleConfig(
        seed=config.seed,
        model=model,
        base_model=base.path,
        base_recurrence=base.recurrence,
        run=RunConfig(str(job.folder)),
        method=job.arm.method,
        params=dict(job.arm.params),
        prm=job.arm.prm,
        num_samples=job.arm.num_samples,
        temperature=job.arm.temperature,
        max_new_tokens=job.task.max_new_tokens,
        num_questions=job.task.num_questions,
        data=job.task.data,
        reward=config.reward,
        rollout=config.rollout,
        dtype=config.dtype,
        timeout_s=config.timeout_s,
    )


def models_of(config: CompareConfig, arm: ArmConfig) -> tuple[ModelConfig, ModelConfig]:
    """What samples for an arm, and under what its completions are scored: its path is empty where both are the same."""
    if arm.model:
        return ModelConfig(checkpoint(arm.model), arm.recurrence), config.model
    recurrence = config.model.recurrence if arm.recurrence is None else arm.recurrence
    own = ModelConfig(config.model.path, recurrence)
    return own, ModelConfig("") if own == config.model else config.model
