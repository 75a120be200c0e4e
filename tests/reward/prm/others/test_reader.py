import pytest

from reward.prm.others.reader import OtherReader, single_token
from reward.prm.others.settings import OtherPRM
from rl.tiny_model import tiny_tokenizer
from rollout.search.stepwise import Reading
from rollout.types import Prompt

POLICY = tiny_tokenizer()
OTHER = tiny_tokenizer()
OTHER.add_tokens(["<extra_0>"], special_tokens=True)
QUESTION = Prompt("q/0", "2+2?", (1, 2, 3), {})
EOS = POLICY.eos_token_id


def reader(**settings):
    return OtherReader(OtherPRM(**{"model": "", "kind": "plus_minus", "separator": "\n", **settings}), OTHER, POLICY)


def reading(text, ended=False):
    ids = tuple(POLICY.encode(text, add_special_tokens=False))
    return Reading(QUESTION, (*ids, EOS) if ended else ids, has_ended=ended)


def said(given):
    """The text of a sequence, and the tokens at which it is read."""
    return OTHER.decode(given.token_ids), [OTHER.decode([given.token_ids[i]]) for i in given.positions]


def test_a_chat_has_all_steps_in_one_answer_and_the_question_alone_in_another_sequence():
    alone, solution = reader(system_prompt="Be brief.").inputs(reading("two\nfour\nso"))
    start = "<bos><|system|>Be brief.<eos><|user|>2+2?<eos><|assistant|>"
    assert said(alone) == (f"{start}<extra_0><eos>", ["<extra_0>"])
    assert said(solution) == (f"{start}two<extra_0>four<extra_0><eos>", ["<extra_0>"] * 2)
    assert (alone.ends, solution.ends) == ((0,), (4, 9))


def test_plain_text_has_the_step_token_behind_every_step():
    _, solution = reader(format="plain", step_token="#", between="\n").inputs(reading("two\nfour", ended=True))
    assert said(solution) == ("2+2? two#\nfour#", ["#", "#"])
    assert solution.ends == (4, 9)


def test_turns_are_read_where_the_judgement_is_about_to_be_given():
    alone, solution = reader(format="turns").inputs(reading("two\nfour\n"))
    first = "<bos><|user|>2+2? two<eos><|assistant|>"
    assert said(solution) == (f"{first}+<eos><|user|>four<eos><|assistant|>", ["<|assistant|>"] * 2)
    assert said(alone) == ("<bos><|user|>2+2?<eos><|assistant|>", ["<|assistant|>"])
    assert solution.positions[0] == len(OTHER.encode(first, add_special_tokens=False)) - 1


def test_an_end_without_words_is_judged_with_the_step_in_front_of_it():
    _, solution = reader().inputs(reading("two\n", ended=True))
    assert solution.ends == (4, 5)
    assert solution.positions[0] == solution.positions[1]


def test_an_unfinished_step_is_not_read():
    assert len(reader().inputs(reading("tw"))) == 1


def test_a_step_token_in_the_question_is_refused():
    with pytest.raises(ValueError, match="stands 2 times in a text of 1 steps"):
        reader(format="plain", step_token="?").inputs(reading("two\n"))


def test_a_tokenizer_without_the_step_token_is_refused():
    with pytest.raises(ValueError, match="no token for the step token 'ки'"):
        single_token(OTHER, "ки")
    with pytest.raises(ValueError, match="no token for the step token 'ab'"):
        single_token(OTHER, "ab")
    assert single_token(OTHER, "<extra_0>") == OTHER.get_vocab()["<extra_0>"]


def test_a_template_that_rewrites_earlier_turns_is_refused():
    changing = reader(format="turns")
    changing._tokenizer = tiny_tokenizer()
    changing._tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ValueError, match="writes earlier turns in another way"):
        changing.inputs(reading("two\nfour\n"))
