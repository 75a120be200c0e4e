"""What a comparison reads before an engine starts: every model's tokenizer, and every task's questions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl.compare.config import CompareConfig, TaskConfig
from rl.compare.models import checkpoint
from rl.data import load_held_out
from rl.errors import UserError
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, stop_token_ids


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
    prompts = load_held_out(task.data, tokenizer, config.seed).batch(0, task.num_questions)
    longest, room = max(len(prompt.token_ids) for prompt in prompts), config.rollout.max_model_len
    if longest + task.max_new_tokens > room:
        raise UserError(
            f"task {task.name}: the longest question has {longest} tokens, which with max_new_tokens="
            f"{task.max_new_tokens} is more than rollout.max_model_len={room}; raise that or lower max_new_tokens"
        )
