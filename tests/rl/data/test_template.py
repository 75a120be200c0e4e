import pytest

from rl.data import DataConfig, SourceConfig, load_data
from rl.data.template import Template
from rl.data.types import Message, Question
from rl.errors import UserError
from rl.tiny_model import tiny_tokenizer


def question(*messages):
    return Question(0, "sums.jsonl, line 1", tuple(Message(role, content) for role, content in messages), {})


PLAIN = question(("user", "1 + 1"))
BRIEF = question(("system", "Be brief."), ("user", "1 + 1"))
LONG = question(("user", "1 + 1"), ("assistant", "2"), ("user", "2 + 2"))


def read_by_the_model(tokenizer, asked, **config):
    ids = Template(DataConfig(**config), tokenizer).token_ids(asked)
    assert all(type(token) is int for token in ids)
    return tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("asked", "config", "text"),
    [
        (PLAIN, {}, "<bos><|user|>1 + 1<eos><|assistant|>"),
        (PLAIN, {"suffix": " =", "system_prompt": "Add."}, "<bos><|system|>Add.<eos><|user|>1 + 1 =<eos><|assistant|>"),
        (BRIEF, {"suffix": " ="}, "<bos><|system|>Be brief.<eos><|user|>1 + 1 =<eos><|assistant|>"),
        (BRIEF, {"system_prompt": "Add."}, "<bos><|system|>Be brief.<eos><|user|>1 + 1<eos><|assistant|>"),
        (
            LONG,
            {"suffix": " =", "system_prompt": "Add."},
            "<bos><|system|>Add.<eos><|user|>1 + 1<eos><|assistant|>2<eos><|user|>2 + 2 =<eos><|assistant|>",
        ),
        (PLAIN, {"chat": False}, "1 + 1"),
        (PLAIN, {"chat": False, "suffix": " =", "system_prompt": "Add. "}, "Add. 1 + 1 ="),
    ],
)
def test_the_model_reads_the_question_in_its_form(asked, config, text, tokenizer):
    assert read_by_the_model(tokenizer, asked, **config) == text


def test_the_text_of_a_prompt_is_the_last_message_and_the_suffix(tokenizer):
    assert Template(DataConfig(suffix=" =", system_prompt="Add."), tokenizer).text(LONG) == "2 + 2 ="


def test_chat_without_a_template_is_refused_before_any_file_is_read():
    bare = tiny_tokenizer()
    bare.chat_template = None
    with pytest.raises(UserError, match="data.chat=true needs a model with a chat template, this one has none"):
        load_data(DataConfig(sources=[SourceConfig(jsonl="absent.jsonl")]), bare, 0)


@pytest.mark.parametrize("asked", [BRIEF, LONG])
def test_a_conversation_without_a_template_is_refused(asked, tokenizer):
    with pytest.raises(UserError, match="sums.jsonl, line 1: a conversation needs a chat template; set data.chat=true"):
        Template(DataConfig(chat=False), tokenizer).token_ids(asked)


def test_what_the_models_template_refuses_is_named():
    strict = tiny_tokenizer()
    strict.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    with pytest.raises(UserError, match="sums.jsonl, line 1: the model's chat template refuses it: no system role"):
        Template(DataConfig(), strict).token_ids(BRIEF)
