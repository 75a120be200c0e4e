"""The questions of a sampling, each with room for a completion."""

from typing import Any

from rl.data import DataConfig, load_held_out
from rl.errors import UserError
from rollout.types import Prompt


def read_questions(
    data: DataConfig, tokenizer: Any, seed: int, num_questions: int, max_new_tokens: int, max_model_len: int
) -> list[Prompt]:
    """The first `num_questions` that `data` holds out.

    Raises UserError where there are fewer, and for one that leaves no room for `max_new_tokens` in `max_model_len`.
    """
    prompts = load_held_out(data, tokenizer, seed).batch(0, num_questions)
    longest = max(len(prompt.token_ids) for prompt in prompts)
    if longest + max_new_tokens > max_model_len:
        raise UserError(
            f"the longest question has {longest} tokens, which with max_new_tokens={max_new_tokens} is more than "
            f"rollout.max_model_len={max_model_len}; raise that or lower max_new_tokens"
        )
    return prompts
