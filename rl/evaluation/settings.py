"""What `zerokl eval` was asked for, and what that comes to: settings with every value in its place.

flags ─ EvalOptions ─┐
config, if one is  ──┴─ settle ─ EvalSettings
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reward.rubric import RewardConfig, RewardFunctionConfig
from rl.config import Config, EvaluationConfig, ModelConfig, load_config
from rl.data import DataConfig, SourceConfig, source_names
from rl.errors import UserError
from rl.models import resolved_dtype
from rl.resume import TRAIN, kind_of
from rl.run_folder import RunFolder
from rollout.config import RolloutConfig

T = TypeVar("T")

NUM_SAMPLES = 8
"""Completions of a question; one where they are greedy, and so all the same."""
TEMPERATURE = 1.0
KS = (1, 2, 4, 8)
"""Those of them that the samples can answer."""
JSONL_GRADER = "math_accuracy"
"""Compares with a line's `answer`. Other graders need a config."""


@dataclass(frozen=True)
class EvalOptions:
    """What was typed. None is what the config says, or else the default."""

    model: str
    """What `model.path` takes, or the folder of a run that has ended."""
    recurrence: int | None = None
    """Of the model's core."""
    task: str | None = None
    params: Sequence[str] = ()
    """`key=value`, each a parameter of the task."""
    jsonl: Path | None = None
    config: Path | None = None
    num_prompts: int | None = None
    num_samples: int | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    ks: str | None = None
    """Whole numbers with commas between them."""
    seed: int | None = None
    dtype: str | None = None
    num_actors: int | None = None


@dataclass(frozen=True)
class EvalSettings:
    """What is measured, and how."""

    model: str
    """What `model.path` takes."""
    recurrence: int | None
    """As `model.recurrence`: how often the model's core is run; None is what the checkpoint says."""
    dtype: str
    """`float32` or `bfloat16`."""
    has_config: bool
    """Whether a config said how questions are put. If not, the chat template is used where the model has one."""
    data: DataConfig
    reward: RewardConfig
    rollout: RolloutConfig
    """The engines, and how they sample: `group_size` completions a question."""
    data_seed: int
    """Decides the questions. A config's own, so that they are those that its training never saw."""
    seed: int
    """Keys the draws of tokens."""
    num_prompts: int
    ks: tuple[int, ...]
    timeout_s: float
    """What one chunk of questions may take at least."""

    @property
    def num_samples(self) -> int:
        """Completions of each question."""
        return self.rollout.group_size

    @property
    def source(self) -> str:
        """Where the questions come from, in words."""
        return ", ".join(source_names(self.data))


def settle(options: EvalOptions) -> EvalSettings:
    """The settings that `options` come to. Raises UserError for what is missing, contradicts itself or is too much."""
    model, path = _model_and_config(options)
    config = load_config(path) if path else _config_of_flags(options, model)
    temperature = _first(options.temperature, config.evaluation.temperature)
    num_samples = _num_samples(options.num_samples, temperature)
    num_prompts = _first(options.num_prompts, config.evaluation.num_prompts)
    _require_questions(num_prompts, config)
    return EvalSettings(
        model=model,
        recurrence=_recurrence(options.recurrence, config, model),
        dtype=resolved_dtype(options.dtype or config.trainer.dtype),
        has_config=path is not None,
        data=config.data,
        reward=config.reward,
        rollout=replace(
            config.rollout,
            num_actors=_first(options.num_actors, config.rollout.num_actors),
            group_size=num_samples,
            temperature=temperature,
            max_new_tokens=_first(options.max_new_tokens, config.evaluation.max_new_tokens),
        ),
        data_seed=config.seed,
        seed=_first(options.seed, config.seed),
        num_prompts=num_prompts,
        ks=_ks(options.ks, num_samples),
        timeout_s=config.trainer.timeout_s,
    )


def _recurrence(asked: int | None, config: Config, model: str) -> int | None:
    """How often the core is run: what was asked for, or what the config says of the same model."""
    return config.model.recurrence if asked is None and config.model.path == model else asked


def _model_and_config(options: EvalOptions) -> tuple[str, Path | None]:
    """What `model.path` takes, and the config that says what was left open; None where flags say it all."""
    model, own_config = _checkpoint(options.model)
    sources = {"--task": options.task, "--jsonl": options.jsonl, "--config": options.config}
    given = [flag for flag, value in sources.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"questions come from one place, got {' and '.join(given)}; leave out all but one")
    if options.params and options.task is None:
        raise UserError("--param sets parameters of a task, and no task was named; add --task NAME")
    if not given and own_config is None:
        raise UserError("there are no questions to ask; give --task NAME, --jsonl FILE or --config CONFIG")
    return model, options.config if given else own_config


def _checkpoint(model: str) -> tuple[str, Path | None]:
    """What `model.path` takes; for a run's folder the checkpoint inside, and of `zerokl train` the run's config."""
    run = RunFolder(Path(model))
    if not run.config_path.is_file() or (run.path / "config.json").is_file():
        return model, None
    if not run.model_dir.is_dir():
        raise UserError(f"the run in {model} has not ended, so it has no model/ yet; `zerokl resume {model}` goes on")
    return str(run.model_dir), run.config_path if kind_of(run.path) == TRAIN else None


def _config_of_flags(options: EvalOptions, model: str) -> Config:
    config = Config(seed=_first(options.seed, 0), model=ModelConfig(model))
    config.evaluation = EvaluationConfig(temperature=TEMPERATURE)
    num_prompts = config.evaluation.num_prompts
    if options.jsonl is None:
        config.data = DataConfig(task=_first(options.task, ""), params=_params(options.params))
    else:
        config.data = DataConfig(sources=[SourceConfig(jsonl=str(options.jsonl))])
        config.reward = RewardConfig([RewardFunctionConfig(JSONL_GRADER)])
        num_prompts = min(num_prompts, _num_lines(options.jsonl))
    config.evaluation.num_prompts = config.data.num_held_out = _first(options.num_prompts, num_prompts)
    return config


def _num_lines(path: Path) -> int:
    """Lines of a file of questions; 1 where there are none, so that reading it says what is wrong."""
    if not path.is_file():
        return 1
    with path.open("rb") as file:
        return max(1, sum(1 for _ in file))


def _params(pairs: Sequence[str]) -> dict[str, Any]:
    """The parameters in `key=value` pairs, values as YAML."""
    for pair in pairs:
        key, equals, _ = pair.partition("=")
        if not key or not equals:
            raise UserError(f"--param {pair!r} must be key=value, for example min_terms=2")
    try:
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(list(pairs)), resolve=False))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"--param {' '.join(pairs)}: a value is not YAML: {error}") from error


def _require_questions(num_prompts: int, config: Config) -> None:
    if num_prompts < 1:
        raise UserError("the config evaluates no questions (evaluation.num_prompts is 0); give --num-prompts")
    if num_prompts > config.data.num_held_out:
        raise UserError(
            f"asked for {num_prompts} questions and data.num_held_out is {config.data.num_held_out}; "
            "lower --num-prompts: what is not held out may have been trained on"
        )


def _num_samples(asked: int | None, temperature: float) -> int:
    if not math.isfinite(temperature):
        raise UserError(f"--temperature must be a finite number, got {temperature}")
    if temperature == 0 and _first(asked, 1) > 1:
        raise UserError(
            f"at temperature 0 all samples of a question are the same, got --samples {asked}; "
            "set --samples 1, or a --temperature above 0"
        )
    return _first(asked, 1 if temperature == 0 else NUM_SAMPLES)


def _ks(text: str | None, num_samples: int) -> tuple[int, ...]:
    """Every k asked for, ascending."""
    if text is None:
        return tuple(k for k in KS if k <= num_samples)
    try:
        ks = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise UserError(f"--k must be whole numbers with commas between them, such as 1,2,4; got {text!r}") from error
    if not 1 <= ks[0] <= ks[-1] <= num_samples:
        raise UserError(
            f"pass@k needs k from 1 to the number of samples, got --k {text} with {num_samples} samples a question; "
            "raise --samples or leave out the larger ones"
        )
    return tuple(ks)


def _first(asked: T | None, otherwise: T) -> T:
    return otherwise if asked is None else asked
