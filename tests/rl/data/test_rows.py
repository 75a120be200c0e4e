import pytest

from rl.data.config import SourceConfig
from rl.data.rows import Row, question_of
from rl.data.types import Message
from rl.errors import UserError

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1"}]


def question(values, **source):
    return question_of(Row(17, "sums.jsonl, line 18", values), SourceConfig(jsonl="sums.jsonl", **source), "data")


def complaint(values, **source):
    with pytest.raises(UserError) as caught:
        question(values, **source)
    return str(caught.value)


def test_a_text_is_a_message_of_the_users():
    asked = question({"prompt": "1 + 1", "answer": "2", "level": 3})
    assert (asked.index, asked.where) == (17, "sums.jsonl, line 18")
    assert asked.messages == (Message("user", "1 + 1"),)
    assert asked.text == "1 + 1"


def test_columns_other_than_the_prompt_go_to_the_reward():
    assert question({"prompt": "1 + 1", "answer": "2", "tests": ["x"]}).columns == {"answer": "2", "tests": ["x"]}
    assert question({"prompt": "1 + 1"}).columns == {}


def test_columns_can_have_other_names():
    asked = question({"question": "1 + 1", "final": "2", "answer": "well, 2"}, prompt="question", answer="final")
    assert asked.text == "1 + 1"
    assert asked.columns == {"final": "2", "answer": "2"}


@pytest.mark.parametrize("column", ["messages", "prompt"])
def test_a_conversation_may_stand_in_either_column(column):
    asked = question({column: ASKED})
    assert asked.messages == (Message("system", "Be brief."), Message("user", "1 + 1"))
    assert asked.text == "1 + 1"
    assert asked.columns == {}


def test_where_both_are_there_the_prompt_is_asked():
    assert question({"prompt": "2 + 2", "messages": ASKED}).text == "2 + 2"


def test_nulls_in_a_message_do_not_count():
    # Data sets with a fixed schema fill the keys of every message.
    assert question({"prompt": [{"role": "user", "content": "1", "name": None}]}).messages == (Message("user", "1"),)


def test_questions_are_the_same_where_their_texts_are_but_for_white_space_around_them():
    assert question({"prompt": "1 + 1\n"}).key == question({"messages": [{"role": "user", "content": " 1 + 1"}]}).key
    assert question({"prompt": "1 + 1"}).key != question({"prompt": "1 +  1"}).key
    assert question({"messages": ASKED}).key != question({"prompt": "1 + 1"}).key


@pytest.mark.parametrize(("value", "text"), [(72, "72"), (0.5, "0.5"), (-3, "-3"), (True, "true"), (False, "false")])
def test_an_answer_that_is_a_number_or_a_boolean_arrives_as_text(value, text):
    assert question({"prompt": "?", "answer": value}).columns["answer"] == text


def test_null_is_no_answer():
    assert question({"prompt": "?", "answer": None, "level": None}).columns == {"level": None}


@pytest.mark.parametrize("value", [["a", "b"], {"x": 1}])
def test_any_other_answer_arrives_as_it_is(value):
    assert question({"prompt": "?", "answer": value}).columns["answer"] == value


def test_the_answer_can_be_what_follows_a_mark():
    asked = question({"prompt": "?", "answer": "48 / 2 = 24 #### no\n48 + 24 = 72\n#### 72"}, answer_after="####")
    assert asked.columns["answer"] == "72"


def test_a_missing_prompt_is_named_with_the_columns_there_are_and_the_nearest():
    said = complaint({"promt": "1 + 1", "answer": "2"})
    assert said == (
        "sums.jsonl, line 18: there is no column 'prompt', did you mean 'promt'?; there are promt, answer; "
        "set data.prompt to the one with the question"
    )
    assert "there are none" in complaint({})
    assert "there is no column 'question'; there are prompt" in complaint({"prompt": "1"}, prompt="question")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty, so there is nothing to answer"),
        (" \n", "is empty, so there is nothing to answer"),
        (None, "must be a text or a list of messages, got None"),
        (7, "must be a text or a list of messages, got 7"),
        ([], "must be a text or a list of messages, got []"),
        ({"role": "user", "content": "1"}, "must be a text or a list of messages, got {"),
        (["1 + 1"], "a message must be a role and a content, both text, got '1 + 1'"),
        ([{"role": "user"}], "a message must be a role and a content, both text, got {'role': 'user'}"),
        ([{"role": "user", "content": [{"type": "image"}]}], "a message must be a role and a content, both text"),
        ([{"role": "user", "content": "1", "tool_calls": [1]}], "a message must be a role and a content, both text"),
        ([*ASKED, {"role": "assistant", "content": "2"}], "ends with the assistant's own message"),
        ([{"role": "user", "content": ""}], "is empty, so there is nothing to answer"),
    ],
)
def test_a_prompt_that_asks_nothing_is_named(value, said):
    message = complaint({"prompt": value})
    assert message.startswith("sums.jsonl, line 18: column 'prompt'")
    assert said in message


def test_an_answer_that_was_asked_for_must_be_there():
    said = complaint({"prompt": "?", "anser": "2"}, answer="answr")
    assert "there is no answer in column 'answr'" in said
    assert "there are prompt, anser; set data.answer" in said
    assert "there is no answer in column 'answer'" in complaint({"prompt": "?"}, answer_after="####")
    assert "has no '####' to look behind" in complaint({"prompt": "?", "answer": "72"}, answer_after="####")
    assert "has no '####' to look behind" in complaint({"prompt": "?", "answer": ["72"]}, answer_after="####")


@pytest.mark.parametrize("name", ["prompts", "completions", "completion_ids"])
def test_a_column_with_a_name_that_rewards_need_is_refused(name):
    assert complaint({"prompt": "?", name: 1}) == (
        f"sums.jsonl, line 18: column '{name}' has a name that reward functions need; rename it"
    )
