"""Keeps prompts to what the model takes."""

from rl.data.types import Dataset, Longest
from rl.errors import UserError
from rollout.types import Prompt


class Limited:
    """A data set whose prompts all leave room for a completion.

    What has an end is checked as it is made, before anything starts; of endless sources each prompt as it comes.
    """

    def __init__(self, data: Dataset, max_model_len: int, max_new_tokens: int) -> None:
        """Both in tokens. Raises UserError naming the longest prompt where it does not fit."""
        self._data, self._max_model_len, self._room = data, max_model_len, max_model_len - max_new_tokens
        self.longest = data.longest
        if self.longest is not None:
            self._require_room(self.longest)

    @property
    def digest(self) -> str | None:
        """That of the questions, which the limit leaves alone."""
        return self._data.digest

    def batch(self, cursor: int, size: int) -> list[Prompt]:
        """Prompts `cursor` to `cursor + size`. Raises UserError naming the first that does not fit."""
        prompts = self._data.batch(cursor, size)
        for prompt in prompts:
            self._require_room(Longest(len(prompt.token_ids), f"prompt {prompt.id}"))
        return prompts

    def key(self, cursor: int) -> str:
        """That of the question which prompt `cursor` asks."""
        return self._data.key(cursor)

    def _require_room(self, prompt: Longest) -> None:
        if prompt.num_tokens > self._room:
            raise UserError(
                f"{prompt.where} has {prompt.num_tokens} tokens and rollout.max_model_len={self._max_model_len} leaves "
                f"room for {self._room} beside a completion; raise rollout.max_model_len or take it out"
            )
