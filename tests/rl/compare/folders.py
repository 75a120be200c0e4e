"""Folders of runs, and a config that compares one with its base."""

import dataclasses
from pathlib import Path

from rl.compare.config import ArmConfig, CompareConfig, TaskConfig
from rl.config import Config, EvaluationConfig, ModelConfig, RunConfig, save_config
from rl.data import DataConfig
from rl.ledger import Ledger
from rl.types import StepRecord

PARAMS = {"min_terms": 2, "max_terms": 2}


def trained_run(path: Path, tokens: tuple[int, ...] = (100, 23), weights: str = "cd") -> Path:
    """A run on `chain_sum` that has ended, with `tokens` a step."""
    (path / "model").mkdir(parents=True)
    (path / "model" / "config.json").write_text("{}")
    data = DataConfig(task="chain_sum", params=PARAMS, num_held_out=50)
    evaluation = EvaluationConfig(num_prompts=50)
    save_config(Config(seed=3, model=ModelConfig("m"), data=data, evaluation=evaluation), path / "config.yaml")
    ledger = Ledger(path / "ledger.jsonl")
    for step, num_tokens in enumerate(tokens, start=1):
        ledger.append(dataclasses.replace(_empty_record(), step=step, num_tokens=num_tokens, weights=weights))
    return path


def comparison(folder: Path, model: str = "") -> CompareConfig:
    """Two arms of the base, and one of `model` where it is given, on two tasks."""
    trained = [ArmConfig("RL", model=model, num_samples=2)] if model else []
    return CompareConfig(
        model=ModelConfig("tiny:llama"),
        tasks=[
            TaskConfig("sums", in_domain=True, data=DataConfig(task="chain_sum", params=PARAMS), num_questions=12),
            TaskConfig("legs", data=DataConfig(task="leg_counting"), num_questions=12),
        ],
        arms=[ArmConfig("base", num_samples=2), ArmConfig("vote of 4", method="vote", num_samples=4), *trained],
        seed=3,
        run=RunConfig(str(folder)),
        tracker="none",
    )


def _empty_record() -> StepRecord:
    empty = {"int": 0, "str": ""}
    kinds = {field.name: getattr(field.type, "__name__", field.type) for field in dataclasses.fields(StepRecord)}
    return StepRecord(**{name: empty[str(kind)] for name, kind in kinds.items()})  # type: ignore[arg-type]
