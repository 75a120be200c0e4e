"""What a comparison reads before an engine starts: tokenizers, process reward models, and every task's questions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl.compare.config import ArmConfig, CompareConfig, TaskConfig
from rl.compare.models import checkpoint
from rl.compare.sampling import models_of
from rl.errors import UserError
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, resolved_dtype, stop_token_ids
from rl.recurrent.checkpoint import policy_folder
from rl.room import require_model_room
from rl.sample.questions import read_questions
from rl.sample.step_scorers import require_step_scorer


def require_inputs(config: CompareConfig) -> None:
    """Nothing; raises UserError naming every model and task that cannot be had.

    A model must have a tokenizer with an end token and the base model's vocabulary; a process reward model must read
    the tokens of its arm's model; a task must have as many questions as are asked, each with room for a completion.
    """
    problems: list[str] = []
    tokenizers: dict[str, Any] = {}
    for model in dict.fromkeys(["", *(arm.model for arm in config.arms)]):
        with _collected(problems):
            tokenizers[model] = _tokenizer(checkpoint(model) or config.model.path, config.seed)
    for arm in config.arms:
        if arm.model in tokenizers:
            with _collected(problems):
                _require_vocabulary(arm, tokenizers)
            with _collected(problems):
                _require_depth(arm, config)
            with _collected(problems):
                _require_prm(arm, tokenizers[arm.model])
    if "" in tokenizers:
        for task in config.tasks:
            with _collected(problems):
                _require_questions(task, tokenizers[""], config)
    if problems:
        raise UserError("\n".join(problems))


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Adds to `problems` what is wrong inside the block."""
    try:
        yield
    except ValueError as error:
        problems.append(str(error))


def _tokenizer(model: str, seed: int) -> Any:
    model_dir = resolve_model(model, MODEL_CACHE, seed=seed)
    tokenizer = load_tokenizer(model_dir)
    stop_token_ids(model_dir, tokenizer)
    return tokenizer


def _require_vocabulary(arm: ArmConfig, tokenizers: dict[str, Any]) -> None:
    if "" in tokenizers and tokenizers[arm.model].get_vocab() != tokenizers[""].get_vocab():
        raise UserError(
            f"arm {arm.name}: {arm.model} has another vocabulary than the base model, which could not score its tokens"
        )


def _require_depth(arm: ArmConfig, config: CompareConfig) -> None:
    try:
        model_dir = policy_folder(models_of(config, arm)[0], config.seed)
        require_model_room(model_dir, config.rollout, resolved_dtype(config.dtype))
    except UserError as error:
        raise UserError(f"arm {arm.name}: {error}") from error


def _require_prm(arm: ArmConfig, tokenizer: Any) -> None:
    try:
        require_step_scorer(arm.prm, tokenizer)
    except ValueError as error:
        raise UserError(f"arm {arm.name}: prm: {error}") from error


def _require_questions(task: TaskConfig, tokenizer: Any, config: CompareConfig) -> None:
    room = config.rollout.max_model_len
    try:
        read_questions(task.data, tokenizer, config.seed, task.num_questions, task.max_new_tokens, room)
    except UserError as error:
        raise UserError(f"task {task.name}: {error}") from error
