"""What runs inside a reward worker process: one reward function on the completions of one prompt."""

import contextlib
import functools
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reward.functions import as_conversational, load_reward_function, preload_reward_function
from reward.types import RewardFn


@dataclass(frozen=True)
class ScoreRequest:
    """One reward function's work on one group."""

    function: str
    conversational: bool
    prompt: str
    completions: tuple[str, ...]
    completion_ids: tuple[tuple[int, ...], ...]
    columns: Mapping[str, Any]
    """The prompt's columns, one value each; the function gets them as lists as long as `completions`."""


@dataclass(frozen=True)
class Failure:
    """Why there are no scores, and what the user can do. Text only: exceptions do not always survive pickling."""

    what: str
    remedy: str
    is_loss: bool = False
    """The worker was lost, which says nothing about the function that it ran."""


def start_worker(functions: Sequence[tuple[str, bool]]) -> None:
    """Makes the worker ready: it ends when the driver does, and has the slow imports behind it.

    It outlives a SIGTERM to every process of a run (`ray job stop`): a run that was asked to stop finishes its step.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # not SIG_IGN, which what a reward function starts would inherit
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    for name, conversational in functions:
        # What fails here fails again at the first score, where it can be reported with the function's name.
        with contextlib.suppress(Exception):
            preload_reward_function(name)
            _function(name, conversational)


def score_completions(request: ScoreRequest) -> tuple[float | None, ...] | Failure:
    """One score per completion, checked, or what went wrong."""
    try:
        scores = _call(request)
    except (Exception, SystemExit) as error:
        return Failure(_describe(error), "mend the function or take it out of reward.functions")
    return _checked(scores, len(request.completions))


def _call(request: ScoreRequest) -> Any:
    num_completions = len(request.completions)
    return _function(request.function, request.conversational)(
        prompts=[request.prompt] * num_completions,
        completions=list(request.completions),
        completion_ids=[list(ids) for ids in request.completion_ids],
        **{name: [value] * num_completions for name, value in request.columns.items()},
    )


@functools.cache
def _function(name: str, conversational: bool) -> RewardFn:
    function = load_reward_function(name)
    return as_conversational(function) if conversational else function


def _checked(scores: Any, num_completions: int) -> tuple[float | None, ...] | Failure:
    rule = "return one finite number, or None where it does not apply, for each completion"
    try:
        values = list(scores)
    except TypeError:
        return Failure(f"returned a {type(scores).__name__}, not a list", rule)
    if len(values) != num_completions:
        return Failure(f"returned {len(values)} values for {num_completions} completions", rule)
    for i, value in enumerate(values):
        if value is not None and not _is_finite_number(value):
            return Failure(f"returned {value!r} for completion {i}", rule)
    return tuple(None if value is None else float(value) for value in values)


def _is_finite_number(value: Any) -> bool:
    """True for Python, NumPy and PyTorch scalars that are neither NaN nor infinite."""
    try:
        return hasattr(value, "__float__") and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def _describe(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"


def _exit_with_parent() -> None:
    """Ends this process once the driver is gone, even where the driver was killed and a reward function hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
