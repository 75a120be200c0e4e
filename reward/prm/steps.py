"""Where the steps of a completion end, and the tokens at which a reward model is read there.

One rule for training and for serving: a boundary is found from the tokens in front of it alone, so a prefix is cut
exactly as the finished completion is.

    completion   3 + 4 = 7 \\n   so 7 - 2 = 5 \\n   <eos>
    ends                    ^                 ^     ^      and 0, the question alone
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reward.prm.nearest import nearest

SUGGESTED = ("\n\n", "\n", ". ", ".")
"""Separators to point at where the chosen one never occurs."""


@dataclass(frozen=True)
class StepRule:
    """What ends a step, and where a score is read."""

    separator: str = "\n"
    """Text with which a step ends."""
    step_token: str = ""
    """A token of the vocabulary that is put behind the question and behind every step, and read; empty reads the last
    token in front of that place."""


@dataclass(frozen=True)
class StepInput:
    """A question and a completion as a reward model reads them."""

    token_ids: tuple[int, ...]
    """Prompt and completion, with a step token behind each step where the rule has one."""
    ends: tuple[int, ...]
    """Completion tokens in front of each place: 0, then where each step ends, ascending."""
    positions: tuple[int, ...]
    """The index in `token_ids` whose hidden state speaks for the place; as many as `ends`, ascending."""


class StepCutter:
    """Cuts completions of one tokenizer by one rule. The same cuts in training and serving need the same of both."""

    def __init__(self, tokenizer: Any, rule: StepRule):
        """tokenizer: of the model that reads. Raises ValueError where it cannot follow the rule."""
        if not rule.separator:
            raise ValueError("a step separator must not be empty; write the text that ends a step, such as '\\n'")
        self.rule = rule
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}
        self._step_token = (vocabulary_id(tokenizer, rule.step_token),) if rule.step_token else ()
        self._require_spelling()

    @cached_property
    def pause_token_ids(self) -> tuple[int, ...]:
        """Every token behind which a step may have ended: its text completes the separator. Ascending."""
        tails = tuple(self.rule.separator[i:] for i in range(len(self.rule.separator)))
        ids = sorted(self._tokenizer.get_vocab().values())
        return tuple(i for i in ids if self.rule.separator in self._piece(i) or self._piece(i).startswith(tails))

    def boundaries(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Numbers of tokens after which a step has ended, ascending. What is blank is no step.

        Those of a prefix are the first of those of whatever it becomes.
        """
        found, rest = [], ""
        for index, token_id in enumerate(token_ids):
            *ended, rest = (rest + self._piece(token_id)).split(self.rule.separator)
            if any(text.strip() for text in ended):
                found.append(index + 1)
        return tuple(found)

    def ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        """The boundaries, and the end of a completion that nothing follows. () for no tokens."""
        found = self.boundaries(token_ids)
        closes = has_ended and len(token_ids) > (found[-1] if found else 0)
        return (*found, len(token_ids)) if closes else found

    def read(self, prompt_ids: Sequence[int], token_ids: Sequence[int], has_ended: bool) -> StepInput:
        """What the model reads, and at which of its tokens it is asked. The prompt must not be empty."""
        ends = (0, *self.ends(token_ids, has_ended))
        read, positions, start = list(prompt_ids), [], 0
        for end in ends:
            read.extend((*token_ids[start:end], *self._step_token))
            positions.append(len(read) - 1)
            start = end
        return StepInput((*read, *token_ids[start:]), ends, tuple(positions))

    def suggestion(self, completions: Sequence[Sequence[int]]) -> str:
        """The separators among `SUGGESTED` that do occur, for a message."""
        texts = ["".join(map(self._piece, token_ids)) for token_ids in completions]
        occurring = [repr(text) for text in SUGGESTED if any(text in whole for whole in texts)]
        return f"{' and '.join(occurring)} do occur" if occurring else "no other usual separator occurs either"

    def _piece(self, token_id: int) -> str:
        """The text that a token adds. Decoded behind another, for some tokenizers drop a space at the front."""
        if token_id not in self._pieces:
            anchor, text = self._anchor
            self._pieces[token_id] = self._decode([anchor, token_id])[len(text) :]
        return self._pieces[token_id]

    @cached_property
    def _anchor(self) -> tuple[int, str]:
        token_id: int = self._tokenizer.encode("a", add_special_tokens=False)[-1]
        return token_id, self._decode([token_id])

    def _decode(self, token_ids: list[int]) -> str:
        text: str = self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _require_spelling(self) -> None:
        spelled = self._tokenizer.encode("a" + self.rule.separator, add_special_tokens=False)
        if self.rule.separator not in "".join(map(self._piece, spelled)):
            raise ValueError(
                f"the tokenizer cannot spell the step separator {self.rule.separator!r}, so no step would ever end; "
                "choose a text that it can"
            )


def require_steps(cutter: StepCutter, completions: Sequence[Sequence[int]]) -> None:
    """Nothing; raises ValueError where no step ends in any of `completions`."""
    if not any(map(cutter.boundaries, completions)):
        raise ValueError(
            f"the step separator {cutter.rule.separator!r} never occurs in {len(completions)} completions, so each "
            f"would be one step; {cutter.suggestion(completions)}"
        )


def vocabulary_id(tokenizer: Any, text: str) -> int:
    """The id of the token called `text`, or of the one that `text` is encoded as. Raises ValueError without one."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    if text in vocabulary:
        return vocabulary[text]
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(
            f"the tokenizer has no token {text!r}{nearest(text, vocabulary)}; name a token of its vocabulary"
        )
    return ids[0]
