"""What a comparison reads before an engine starts: every model's tokenizer, and every task's questions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl.compare.config import CompareConfig, TaskConfig
from rl.compare.models import checkpoint
from rl.errors import UserError
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, stop_token_ids
from rl.sample.questions import read_questions


def require_inputs(config: CompareConfig) -> None:
    """Nothing; raises UserError naming every model and task that cannot be had.

    A model must have a tokenizer with an end token; a task must have as many questions as are asked, each with room for
    a completion.
    """
    problems: list[str] = []
    tokenizer = None
    with _collected(problems):
        tokenizer = _tokenizer(config.model.path, config.seed)
    for model in dict.fromkeys(arm.model for arm in config.arms if arm.model):
        with _collected(problems):
            _tokenizer(checkpoint(model), config.seed)
    if tokenizer is not None:
        for task in config.tasks:
            with _collected(problems):
                _require_questions(task, tokenizer, config)
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


def _require_questions(task: TaskConfig, tokenizer: Any, config: CompareConfig) -> None:
    room = config.rollout.max_model_len
    try:
        read_questions(task.data, tokenizer, config.seed, task.num_questions, task.max_new_tokens, room)
    except UserError as error:
        raise UserError(f"task {task.name}: {error}") from error
