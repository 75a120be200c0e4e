"""Puts a policy's solution into the words of a PRM that others trained: other tokens, other formats.

The policy's tokens are cut into steps and decoded, the PRM's tokenizer encodes what it would have seen in training. A
solution is read in one sequence, the question alone in another: no PRM of others was trained with a score in front of
the first step.
"""

from collections.abc import Sequence
from typing import Any

from reward.prm.others.settings import OtherPRM
from reward.prm.steps import StepCutter, StepInput, StepRule
from rollout.search.stepwise import Reading


class OtherReader:
    """Raises ValueError where the PRM's tokenizer has no such step token."""

    levels = (0.5,)

    def __init__(self, settings: OtherPRM, tokenizer: Any, policy_tokenizer: Any):
        """tokenizer: the PRM's own."""
        self._settings, self._tokenizer, self._policy = settings, tokenizer, policy_tokenizer
        self._cutter = StepCutter(policy_tokenizer, StepRule(settings.separator))
        self._step_id = None if settings.format == "turns" else single_token(tokenizer, settings.step_token)

    @property
    def pause_token_ids(self) -> tuple[int, ...]:
        return self._cutter.pause_token_ids

    def step_ends(self, token_ids: Sequence[int], has_ended: bool) -> tuple[int, ...]:
        return self._cutter.ends(token_ids, has_ended)

    def inputs(self, reading: Reading) -> tuple[StepInput, ...]:
        """The question alone, and the solution where there is a step."""
        question = reading.prompt.text
        tokens, positions = self._encoded(question, [""])
        alone = StepInput(tokens, (0,), positions)
        ends = self.step_ends(reading.token_ids, reading.has_ended)
        if not ends:
            return (alone,)
        texts = [self._text(reading, start, end) for start, end in zip((0, *ends[:-1]), ends, strict=True)]
        said = [text for text in texts if text] or [""]
        tokens, positions = self._encoded(question, said)
        # A step without words, such as an end token behind a separator, is judged with the step in front of it.
        places = [max(0, sum(map(bool, texts[: k + 1])) - 1) for k in range(len(texts))]
        return alone, StepInput(tokens, ends, tuple(positions[place] for place in places))

    def _text(self, reading: Reading, start: int, end: int) -> str:
        text: str = self._policy.decode(reading.token_ids[start:end], skip_special_tokens=True)
        return text.strip()

    def _encoded(self, question: str, steps: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The PRM's tokens, and the position at which each step is judged."""
        if self._settings.format == "turns":
            return self._turns(question, steps)
        marked = self._settings.between.join(step + self._settings.step_token for step in steps)
        if self._settings.format == "chat":
            text = self._templated([*self._system(), _said("user", question), _said("assistant", marked)])
            tokens = tuple(self._tokenizer.encode(text, add_special_tokens=False))
        else:
            start = f"{self._settings.system_prompt}\n" if self._settings.system_prompt else ""
            tokens = tuple(self._tokenizer.encode(f"{start}{question} {marked}"))
        positions = tuple(index for index, token in enumerate(tokens) if token == self._step_id)
        if len(positions) != len(steps):
            raise ValueError(
                f"the PRM's step token {self._settings.step_token!r} stands {len(positions)} times in a text of "
                f"{len(steps)} steps, so that scores and steps cannot be matched: {question[:80]!r}"
            )
        return tokens, positions

    def _turns(self, question: str, steps: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        messages = self._system()
        tokens: tuple[int, ...] = ()
        positions = []
        for index, step in enumerate(steps):
            messages.append(_said("user", f"{question} {step}".strip() if index == 0 else step))
            asked = tuple(self._tokenizer.encode(self._templated(messages, asks=True), add_special_tokens=False))
            if asked[: len(tokens)] != tokens:
                raise ValueError(
                    "the PRM's chat template writes earlier turns in another way once there are later ones, so that "
                    "steps cannot be judged in one pass; give it a template that does not"
                )
            tokens = asked
            positions.append(len(asked) - 1)
            messages.append(_said("assistant", self._settings.good))
        return tokens, tuple(positions)

    def _system(self) -> list[dict[str, str]]:
        return [_said("system", self._settings.system_prompt)] if self._settings.system_prompt else []

    def _templated(self, messages: list[dict[str, str]], asks: bool = False) -> str:
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
        return text


def single_token(tokenizer: Any, text: str) -> int:
    """The id of the token as which `text` is encoded behind a word. Raises ValueError where it is not one."""
    before, whole = (tokenizer.encode(t, add_special_tokens=False) for t in ("x", "x" + text))
    if not text or whole[:-1] != before or whole[-1] == tokenizer.unk_token_id:
        raise ValueError(
            f"the PRM's tokenizer has no token for the step token {text!r}; set step_token to a text of one token"
        )
    token_id: int = whole[-1]
    return token_id


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
