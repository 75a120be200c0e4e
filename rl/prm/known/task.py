"""The known-truth task: careful and careless steps, then an answer that is right or wrong.

    prompt      <bos> n17 ?            a name; the policy's weights give every name error rates of its own
    completion  1+⏎ 2-⏎ 3+⏎ 4+⏎ right <eos>

Every step is one token, `+` for careful and `-` for careless, and which token may follow is decided by the one before.
So a completion is one of 2^(steps + 1), the policy's own forward pass gives the probability of each, and the chance to
succeed from any prefix is a sum over those behind it (`truth.py`). It is never 0 or 1 before the answer.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rollout.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

POLICY, READER = "known:policy", "known:reader"
"""As `model.path` and `prm.backbone` in a config."""
NUM_STEPS = 4
MAX_QUESTIONS = 4096
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "\n")
ASK, RIGHT, WRONG = "?", "right", "wrong"
CAREFUL, CARELESS = "+", "-"
STOP_TOKEN = "<eos>"


def is_known(model_path: str) -> bool:
    """Whether `model.path` is the policy of this task."""
    return model_path == POLICY


def step_text(step: int, mark: str) -> str:
    """The token of step `step`, from 1."""
    return f"{step}{mark}\n"


@dataclass(frozen=True)
class Vocabulary:
    """Every token, by its place."""

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        steps = [step_text(step, mark) for step in range(1, NUM_STEPS + 1) for mark in (CAREFUL, CARELESS)]
        names = [f"n{i}" for i in range(MAX_QUESTIONS)]
        return (*SPECIAL, ASK, *steps, RIGHT, WRONG, *names)

    def id(self, token: str) -> int:
        return self.tokens.index(token)

    @property
    def names(self) -> range:
        """The ids of the names."""
        return range(len(self.tokens) - MAX_QUESTIONS, len(self.tokens))

    def followers(self, stage: int) -> tuple[int, int]:
        """The two tokens that may come at `stage`: careful and careless steps 0, 1, …, then right and wrong."""
        if stage == NUM_STEPS:
            return self.id(RIGHT), self.id(WRONG)
        return self.id(step_text(stage + 1, CAREFUL)), self.id(step_text(stage + 1, CARELESS))

    def completions(self) -> list[tuple[int, ...]]:
        """All that a policy can say, the stop token included."""
        pairs = [self.followers(stage) for stage in range(NUM_STEPS + 1)]
        return [(*chosen, self.id(STOP_TOKEN)) for chosen in itertools.product(*pairs)]


def known_tokenizer() -> "PreTrainedTokenizerFast":
    """One token a name, step and answer; anything else is `<unk>`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {token: index for index, token in enumerate(Vocabulary().tokens)}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"n\d+|\d[+-]\n|[a-z]+|[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token=STOP_TOKEN,
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def known_prompts(tokenizer: Any, num_questions: int) -> list[Prompt]:
    """The first `num_questions` of `MAX_QUESTIONS`."""
    return [_prompt(f"n{index}", tokenizer) for index in range(num_questions)]


def _prompt(name: str, tokenizer: Any) -> Prompt:
    text = name + ASK
    return Prompt(f"known/{name}", text, (tokenizer.bos_token_id, *tokenizer.encode(text)), {})


def answered_right(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
    """A reward function: 1.0 for a completion whose answer is right, else 0.0."""
    return [float(completion.endswith(RIGHT)) for completion in completions]
