"""The questions that a reward model learns from: no two alike, none held out, each with room for a solution."""

from typing import Any

from rl.data import Limited, load_data
from rl.errors import UserError
from rl.prm.config import TrainPRMConfig
from rl.prm.known.task import is_known, known_prompts
from rollout.types import Prompt

_MAX_DRAWS = 50
"""Prompts looked at per question wanted, before the data counts as having too few different ones."""


def read_questions(config: TrainPRMConfig, tokenizer: Any) -> list[Prompt]:
    """`collect.num_questions` prompts, no two alike: a question that came twice could train and test.

    Alike are those that ask the same but for white space, and those that read the same to the model.
    Raises UserError where there are fewer, or where one leaves no room for a completion.
    """
    if is_known(config.model.path):
        return known_prompts(tokenizer, config.collect.num_questions)
    rollout, wanted = config.rollout, config.collect.num_questions
    data = Limited(load_data(config.data, tokenizer, config.seed).train, rollout.max_model_len, rollout.max_new_tokens)
    found: list[Prompt] = []
    seen: set[object] = set()
    for start in range(0, wanted * _MAX_DRAWS, wanted):
        for cursor, prompt in enumerate(data.batch(start, wanted), start):
            alike = {data.key(cursor), prompt.token_ids}
            if seen.isdisjoint(alike):
                found.append(prompt)
            seen |= alike
        if len(found) >= wanted:
            return found[:wanted]
    raise UserError(
        f"the data has {len(found)} different questions to learn from, collect.num_questions asks for {wanted}; lower "
        "it, or widen the data"
    )
