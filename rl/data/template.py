"""From a question to the tokens that a model reads."""

from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from rl.data.config import DataConfig
from rl.data.types import Message, Question
from rl.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Template:
    """Puts questions into the form that `data:` asks for: the model's chat template, or plain text."""

    def __init__(self, config: DataConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Raises UserError where a chat template is needed and the tokenizer has none."""
        if config.chat and not tokenizer.chat_template:
            raise UserError("data.chat=true needs a model with a chat template, this one has none; set data.chat=false")
        self._config, self._tokenizer = config, tokenizer

    def text(self, question: Question) -> str:
        """The question as the user wrote it, with the suffix."""
        return question.text + self._config.suffix

    def token_ids(self, question: Question) -> tuple[int, ...]:
        """What the model reads. Raises UserError where the question does not go into the template."""
        return self._chat(question) if self._config.chat else self._plain(question)

    def _plain(self, question: Question) -> tuple[int, ...]:
        if len(question.messages) > 1 or question.messages[0].role != "user":
            raise UserError(f"{question.where}: a conversation needs a chat template; set data.chat=true")
        return tuple(self._tokenizer.encode(self._config.system_prompt + self.text(question)))

    def _chat(self, question: Question) -> tuple[int, ...]:
        messages = [{"role": message.role, "content": message.content} for message in self._conversation(question)]
        try:
            ids: Any = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except TemplateError as error:
            raise UserError(
                f"{question.where}: the model's chat template refuses it: {error}; change the messages or "
                "data.system_prompt, or set data.chat=false"
            ) from error
        return tuple(ids)

    def _conversation(self, question: Question) -> list[Message]:
        """The question's messages, after the config's system prompt where they bring none of their own."""
        *before, last = question.messages
        messages = [*before, Message(last.role, self.text(question))]
        if self._config.system_prompt and messages[0].role != "system":
            messages.insert(0, Message("system", self._config.system_prompt))
        return messages
