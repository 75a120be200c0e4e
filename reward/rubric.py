"""Scores groups of rollouts in worker processes, so that no reward function can hang or crash the run.

    driver                                     worker process (num_workers of them, spawned)
    score(groups) ── one function, one group ──> reward function, killed past time_limit_s
       waits for each answer in order <───────── one number a completion, or what went wrong

A function that fails ends the run with `RewardError`. It is never replaced by a zero: a reward that is silently
wrong trains a model that is silently wrong. A worker that was killed from outside (the kernel's, for memory) is no
failure of a function: fresh workers score all of it again, a bounded number of times.
"""

import math
import multiprocessing
import pickle
import signal
from collections.abc import Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from pebble import CONSTS, ProcessExpired, ProcessPool

from reward.functions import load_reward_function
from reward.process import ProcessConfig, verifiers_of
from reward.types import Reward
from reward.worker import Failure, ScoreRequest, score_completions, start_worker
from rollout.types import RolloutGroup

KILL_AFTER_S = 0.1
"""From SIGTERM, which the workers do not heed, to SIGKILL, for one that is to end."""
MAX_TRIES = 3
"""How often the same groups are scored while workers are lost."""
PROMPT_SHOWN = 80
"""Characters of a prompt in an error."""
START_S = 180.0
"""For workers to come up, on top of the time limits of what they are asked."""


class RewardError(ValueError):
    """No reward: a function raised, hung, crashed or returned something that is no number, or none of them applies."""


class WorkersLost(RewardError):
    """Workers were killed from outside, or gave no answer at all."""


@dataclass
class RewardFunctionConfig:
    """One entry of `reward.functions`."""

    name: str
    """A built-in name or `package.module:function`."""
    weight: float = 1.0
    conversational: bool = False
    """Hand over completions as conversations, as most of TRL's own reward functions expect."""


@dataclass
class RewardConfig:
    """`reward:` in a config."""

    functions: list[RewardFunctionConfig] = field(default_factory=lambda: [RewardFunctionConfig("reasoning_gym")])
    time_limit_s: float = 60.0
    """For one function on one group; past it the run ends."""
    num_workers: int = 2
    process: ProcessConfig = field(default_factory=ProcessConfig)
    """In training: what a process reward model says of the steps, beside the functions."""

    @property
    def weights(self) -> dict[str, float]:
        """Of the functions, by name."""
        return {function.name: function.weight for function in self.functions}


_SILENT = Failure("the reward workers gave no answer", "look at what else runs on the machine", is_loss=True)


class Rubric:
    """Turns rollouts into rewards. A context manager: leaving it ends the workers."""

    def __init__(self, config: RewardConfig) -> None:
        """Raises ValueError where `config` is wrong or names a function that does not exist; starts nothing yet."""
        _check(config)
        self._config = config
        self._verifiers = verifiers_of(config.process, config.weights)
        CONSTS.term_timeout = KILL_AFTER_S
        self._pool = self._create()
        self._num_tasks = 0

    def __enter__(self) -> "Rubric":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def warm_up(self) -> None:
        """Starts the workers and returns at once; they import what the functions need in the background."""
        self._pool.schedule(int)

    def score(self, groups: Sequence[RolloutGroup]) -> list[tuple[Reward, ...]]:
        """One reward per rollout, in the order of `groups` and of their rollouts.

        Raises `RewardError` naming the first function and prompt that failed; the workers are ended by then.
        """
        try:
            for _ in range(MAX_TRIES - 1):
                try:
                    return self._score(groups)
                except WorkersLost:
                    self.close()
                    self._pool = self._create()  # all of them: one that is killed may leave a lock behind
            return self._score(groups)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the workers, whatever they are doing. May be called again."""
        self._pool.stop()
        self._pool.join()

    def _create(self) -> ProcessPool:
        functions = [(function.name, function.conversational) for function in self._config.functions]
        return ProcessPool(
            max_workers=self._config.num_workers,
            initializer=start_worker,
            initargs=(functions,),
            # Not fork: the driver has threads, and a lock held by one of them would stay locked in the child.
            context=multiprocessing.get_context("spawn"),
        )

    def _score(self, groups: Sequence[RolloutGroup]) -> list[tuple[Reward, ...]]:
        self._num_tasks = len(groups) * len(self._config.functions)
        tasks = [[self._submit(function, group) for function in self._config.functions] for group in groups]
        return [self._rewards(group, futures) for group, futures in zip(groups, tasks, strict=True)]

    def _submit(self, function: RewardFunctionConfig, group: RolloutGroup) -> "Future[Any]":
        request = ScoreRequest(
            function=function.name,
            conversational=function.conversational,
            prompt=group.prompt.text,
            completions=tuple(rollout.text for rollout in group.rollouts),
            completion_ids=tuple(rollout.token_ids for rollout in group.rollouts),
            columns=dict(group.prompt.columns),
        )
        try:
            return self._pool.schedule(score_completions, args=(request,), timeout=self._config.time_limit_s)
        except RuntimeError as error:  # all of them were killed while there was nothing to do
            raise WorkersLost(f"the reward workers could not go on ({error}); memory may have run out") from error

    def _rewards(self, group: RolloutGroup, futures: Sequence["Future[Any]"]) -> tuple[Reward, ...]:
        functions = self._config.functions
        scores = [self._scores(function, group, future) for function, future in zip(functions, futures, strict=True)]
        rows = list(zip(*scores, strict=True))
        _require_score(functions, group, rows)
        return tuple(combine(functions, row, self._verifiers) for row in rows)

    def _scores(
        self, function: RewardFunctionConfig, group: RolloutGroup, future: "Future[Any]"
    ) -> tuple[float | None, ...]:
        outcome = self._outcome(future) if self._answers(future) else _SILENT
        if isinstance(outcome, Failure):
            kind = WorkersLost if outcome.is_loss else RewardError
            raise kind(
                f"reward function {function.name!r} on prompt {group.prompt.id}: {outcome.what}; {outcome.remedy}"
            )
        return outcome

    def _answers(self, future: "Future[Any]") -> bool:
        """True once there is an answer, or an error; False where all time limits together have passed without one."""
        within_s = START_S + self._config.time_limit_s * math.ceil(self._num_tasks / self._config.num_workers)
        return bool(wait([future], within_s).done)

    def _outcome(self, future: "Future[Any]") -> tuple[float | None, ...] | Failure:
        """The scores, or what happened instead where the worker could not say so itself."""
        try:
            return future.result()  # type: ignore[no-any-return]
        except TimeoutError:
            return Failure(
                f"ran past its limit of {self._config.time_limit_s:g} s and was killed",
                "make it faster or raise reward.time_limit_s",
            )
        except ProcessExpired as error:
            if error.exitcode == -signal.SIGKILL:
                return Failure("its process was killed", "memory may have run out", is_loss=True)
            return Failure(
                f"its process died with exit status {error.exitcode}",
                "mend the function: it must not exit, crash or run out of memory",
            )
        except BrokenProcessPool as error:
            return Failure(
                f"the reward workers could not go on ({error})",
                "look above for what they printed; memory may have run out",
                is_loss=True,
            )
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            return Failure(
                f"the prompt's columns cannot be sent to a worker ({error})",
                "keep to plain data in the data set's columns",
            )


def _require_score(
    functions: Sequence[RewardFunctionConfig], group: RolloutGroup, rows: Sequence[Sequence[float | None]]
) -> None:
    """Nothing; raises RewardError where every function says of a completion that it does not apply."""
    for completion, row in enumerate(rows):
        if all(score is None for score in row):
            raise RewardError(
                f"no reward function applies to completion {completion} of prompt {group.prompt.id}, "
                f"{group.prompt.text[:PROMPT_SHOWN]!r}: {', '.join(function.name for function in functions)} returned "
                "None; name one that scores such questions in reward.functions, or take them out of the data"
            )


def combine(
    functions: Sequence[RewardFunctionConfig], scores: Sequence[float | None], verifiers: Sequence[str] = ()
) -> Reward:
    """The weighted sum, added up in the order of `functions`; None (does not apply) adds nothing and is left out.

    verifiers: the functions that say whether an answer is right; the first that applies does.
    """
    value, components = 0.0, {}
    for function, score in zip(functions, scores, strict=True):
        if score is not None:
            value += function.weight * score
            components[function.name] = score
    return Reward(value, components, next((name for name in verifiers if name in components), ""))


def _check(config: RewardConfig) -> None:
    names = [function.name for function in config.functions]
    if not names:
        raise ValueError("at least one reward function is needed, got none; set reward.functions")
    if len(set(names)) < len(names):
        raise ValueError(f"each reward function may be named once, got {', '.join(names)}; add up their weights")
    if config.num_workers < 1:
        raise ValueError(f"reward.num_workers must be at least 1, got {config.num_workers}")
    if not 0 < config.time_limit_s < math.inf:
        raise ValueError(f"reward.time_limit_s must be a positive number of seconds, got {config.time_limit_s}")
    for function in config.functions:
        if not math.isfinite(function.weight):
            raise ValueError(f"the weight of {function.name} must be a finite number, got {function.weight}")
        load_reward_function(function.name)
