"""The config: every problem is a finding, and so is whether what it names can be had."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from rl.config import Config, ConfigError, ModelConfig, load_config
from rl.doctor.finding import Finding, refused, warn
from rl.errors import UserError

DTYPES = ("auto", "bfloat16", "float32")


def require_dtype(dtype: str) -> None:
    """Nothing; raises UserError for what is no choice of `--dtype`."""
    if dtype not in DTYPES:
        raise UserError(f"--dtype must be {' or '.join(DTYPES)}, got {dtype!r}")


def read_config(path: Path) -> tuple[Config | None, list[Finding]]:
    """The config in `path`, None where it cannot be run, and the findings on it: one a problem."""
    try:
        config = load_config(path)
    except ConfigError as error:
        return None, [refused("config", problem, f"edit {path}") for problem in _problems(str(error), path)]
    return config, [Finding("config", f"{path}: every key is known and the values go together")]


def check_named(config: Config) -> Iterator[Finding]:
    """Findings on the algorithm and the reward functions that the config names. Imports them."""
    from reward.rubric import Rubric
    from rl.algorithms import make_algorithm

    algorithm, names = config.algorithm.name, ", ".join(function.name for function in config.reward.functions)
    try:
        make_algorithm(algorithm, config.algorithm.params)
        yield Finding("algorithm", algorithm)
    except ValueError as error:
        yield refused("algorithm", str(error), "edit algorithm in the config")
    try:
        Rubric(config.reward).close()
        yield Finding("rewards", names)
    except ValueError as error:
        yield refused("rewards", str(error), "edit reward.functions in the config")


def inputs_finding(config: Config, model: str) -> Finding:
    """A finding on what a run on `model` (as in `model.path`) reads: its prompts, and their room in an engine."""
    from rl.data import source_names
    from rl.inputs import read_inputs

    try:
        own = config.model if config.model.path == model else ModelConfig(model)
        prompts = read_inputs(dataclasses.replace(config, model=own)).held_out
    except (ValueError, OSError) as error:
        return refused("inputs", str(error), "edit the config")
    longest = max((len(prompt.token_ids) for prompt in prompts), default=0)
    asked = ", ".join(source_names(config.data))
    return Finding("data", f"{asked}; {len(prompts)} questions held out, of at most {longest} tokens")


def tracker_finding(tracker: str, environ: Mapping[str, str]) -> Finding:
    """A finding on where a run can be watched. Asks no network."""
    from rl.tracking import wandb_mode

    if tracker == "none":
        return Finding("tracker", "none; metrics.jsonl has the same numbers")
    mode = wandb_mode(environ)
    if mode is None:
        return Finding("tracker", f"wandb, WANDB_MODE={environ['WANDB_MODE']}")
    if mode == "online":
        return Finding("tracker", "wandb, somebody is logged in")
    found = "wandb, and nobody is logged in: runs are kept offline in their folders"
    return warn("tracker", found, "wandb login; or tracker=none")


def _problems(message: str, path: Path) -> list[str]:
    """The lines of a config error; what a parser says over several lines about the file is one problem."""
    return [" ".join(message.split())] if message.startswith(f"{path}:") else message.splitlines()
