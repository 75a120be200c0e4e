"""Finds reward functions by name: built in, the user's own, or TRL's."""

import difflib
import importlib
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from reward.types import RewardFn

BUILT_IN = {
    "reasoning_gym": "reward.reasoning_gym:reasoning_gym_score",
    "reasoning_gym_partial": "reward.reasoning_gym:reasoning_gym_partial_score",
    "math_accuracy": "reward.math:math_accuracy",
    "digit_share": "reward.surface:digit_share",
}
"""Import path by short name."""


def load_reward_function(path: str) -> RewardFn:
    """The reward function that `path` names: a built-in name, `package.module:function` or `package.module.function`.

    TRL's own work as well, such as `trl.rewards:think_format_reward` (see `as_conversational`). Raises ValueError with
    the nearest match when nothing has that name.
    """
    module, name = _module_and_name(path)
    function = getattr(module, name, None)
    if function is None:
        raise ValueError(
            f"module {module.__name__} has no reward function {name!r}{_nearest(name, vars(module))}; "
            "set reward.functions to package.module:function"
        )
    if not callable(function):
        raise ValueError(
            f"a reward function must be callable, got {type(function).__name__} for {path!r}; "
            "set reward.functions to package.module:function"
        )
    return function  # type: ignore[no-any-return]


def preload_reward_function(path: str) -> RewardFn:
    """The reward function that `path` names, ready for use: its module's `preload()` has run, if it defines one."""
    module, _ = _module_and_name(path)
    if hasattr(module, "preload"):
        module.preload()
    return load_reward_function(path)


def as_conversational(function: RewardFn) -> RewardFn:
    """`function`, but given each prompt and completion as a conversation of one message, as most of TRL's expect.

    A completion "42" arrives as `[{"role": "assistant", "content": "42"}]`.
    """

    def conversational(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> Sequence[float | None]:
        asked: Any = [[{"role": "user", "content": text}] for text in prompts]
        answered: Any = [[{"role": "assistant", "content": text}] for text in completions]
        return function(prompts=asked, completions=answered, **columns)

    return conversational


def import_path(path: str) -> tuple[str, str]:
    """Module and name of the reward function that `path` names. Raises ValueError where it is no path and no name."""
    full = BUILT_IN.get(path, path)
    module, _, name = full.rpartition(":") if ":" in full else full.rpartition(".")
    if not module or not name:
        raise ValueError(
            f"no built-in reward function is called {path!r}{_nearest(path, BUILT_IN)}; built in are "
            f"{', '.join(BUILT_IN)}; for one of your own write package.module:function"
        )
    return module, name


def _module_and_name(path: str) -> tuple[ModuleType, str]:
    module, name = import_path(path)
    try:
        return importlib.import_module(module), name
    except ModuleNotFoundError as error:
        raise ValueError(
            f"reward function {path!r} cannot be imported: {error}{_nearest(path, BUILT_IN)}; "
            "install its package or put its folder on PYTHONPATH"
        ) from error


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {matches[0]!r}?" if matches else ""
