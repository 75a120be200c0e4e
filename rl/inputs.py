"""What a run reads before anything starts: the model's folder, the prompts, and how tokens are drawn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.config import Config
from rl.data import Dataset, Limited, load_data
from rl.errors import UserError
from rl.models import load_tokenizer, resolved_dtype, stop_token_ids
from rl.recurrent.checkpoint import policy_folder
from rl.room import require_model_room
from rollout.types import Prompt, SamplingParams


@dataclass(frozen=True)
class Inputs:
    """Everything that can be wrong with what a user brings has been looked at."""

    model_dir: Path
    model_config: Any
    """The checkpoint's Hugging Face config."""
    train_data: Dataset
    held_out: list[Prompt]
    sampling: SamplingParams
    """In training."""
    evaluation: SamplingParams


def read_inputs(config: Config) -> Inputs:
    """The inputs that `config` names. Raises ValueError saying what is wrong with them."""
    model_dir = policy_folder(config.model, config.seed)
    model_config = require_model_room(model_dir, config.rollout, resolved_dtype(config.trainer.dtype))
    tokenizer = load_tokenizer(model_dir)
    _require_length(config, model_config)
    train_data, held_out = _data(config, tokenizer)
    stop_ids = stop_token_ids(model_dir, tokenizer)
    return Inputs(
        model_dir,
        model_config,
        train_data,
        held_out,
        sampling=SamplingParams(config.rollout.temperature, config.rollout.max_new_tokens, stop_token_ids=stop_ids),
        evaluation=SamplingParams(
            config.evaluation.temperature, config.evaluation.max_new_tokens, stop_token_ids=stop_ids
        ),
    )


def _data(config: Config, tokenizer: Any) -> tuple[Dataset, list[Prompt]]:
    """What to learn from, and the held-out prompts; all leave room for a completion."""
    data, max_model_len = load_data(config.data, tokenizer, config.seed), config.rollout.max_model_len
    train = Limited(data.train, max_model_len, config.rollout.max_new_tokens)
    held_out = Limited(data.held_out, max_model_len, config.evaluation.max_new_tokens)
    return train, held_out.batch(0, config.evaluation.num_prompts)


def _require_length(config: Config, model_config: Any) -> None:
    """Nothing; raises UserError where sequences could grow longer than the model takes."""
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    if limit and config.rollout.max_model_len > limit:
        raise UserError(
            f"rollout.max_model_len={config.rollout.max_model_len} is more than the {limit} positions of "
            f"{config.model.path}; lower it"
        )
