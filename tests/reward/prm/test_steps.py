import pytest

from reward.prm.steps import StepCutter, StepInput, StepRule, require_steps, vocabulary_id
from rl.tiny_model import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
EOS = TOKENIZER.eos_token_id


def cutter(separator="\n", step_token=""):
    return StepCutter(TOKENIZER, StepRule(separator, step_token))


def ids(text):
    return tuple(TOKENIZER.encode(text, add_special_tokens=False))


@pytest.mark.parametrize(
    ("separator", "text", "expected"),
    [
        ("\n", "a=1\nb=2\nc", (4, 8)),
        ("\n", "a\n\n\nb\n", (2, 6)),
        ("\n", "\n \nab", ()),
        ("\n\n", "a\nb\n\nc\n\n\nd", (5, 8)),
        (". ", "a. b.c. ", (3, 8)),
        ("\n", "", ()),
    ],
)
def test_a_step_ends_with_the_separator_and_blank_ones_do_not_count(separator, text, expected):
    assert cutter(separator).boundaries(ids(text)) == expected


def test_a_prefix_is_cut_as_what_it_becomes():
    text = ids("x\n\n y\n\n\nz. \n \n\nlast\n\n")
    for separator in ("\n", "\n\n", ". "):
        whole = cutter(separator).boundaries(text)
        for length in range(len(text) + 1):
            assert cutter(separator).boundaries(text[:length]) == tuple(end for end in whole if end <= length)


def test_the_end_of_a_finished_solution_ends_its_last_step():
    solution = (*ids("a\nb"), EOS)
    assert cutter().ends(solution, has_ended=False) == (2,)
    assert cutter().ends(solution, has_ended=True) == (2, 4)
    assert cutter().ends((*ids("a\n"), EOS), has_ended=True) == (2, 3)
    assert cutter().ends(ids("a\n"), has_ended=True) == (2,)
    assert cutter().ends((), has_ended=True) == ()


def test_a_place_is_read_at_the_last_token_in_front_of_it():
    prompt, solution = ids("2+2?"), (*ids("4\nok"), EOS)
    assert cutter().read(prompt, solution, has_ended=True) == StepInput((*prompt, *solution), (0, 2, 5), (3, 5, 8))
    assert cutter().read(prompt, solution, has_ended=False).ends == (0, 2)
    assert cutter().read(prompt, (), has_ended=False) == StepInput(prompt, (0,), (3,))


def test_a_step_token_stands_behind_the_question_and_every_step_and_is_read():
    token = TOKENIZER.get_vocab()["<unused3>"]
    prompt = ids("q")
    read = cutter(step_token="<unused3>").read(prompt, ids("a\nb\nc"), has_ended=False)
    assert read == StepInput((*prompt, token, *ids("a\n"), token, *ids("b\n"), token, *ids("c")), (0, 2, 4), (1, 4, 7))


def test_step_tokens_of_a_prefix_stand_where_they_stand_in_the_whole():
    with_token = cutter(step_token="<unused3>")
    solution = ids("a\nbc\n\nd")
    whole = with_token.read(ids("q"), solution, has_ended=False)
    for end, position in zip(whole.ends, whole.positions, strict=True):
        part = with_token.read(ids("q"), solution[:end], has_ended=False)
        assert part.positions[-1] == position
        assert part.token_ids == whole.token_ids[: position + 1]


def test_a_search_pauses_at_every_token_that_may_complete_the_separator():
    assert cutter("\n").pause_token_ids == ids("\n")
    assert cutter("ab").pause_token_ids == ids("b")


def test_a_separator_that_never_occurs_is_refused_with_those_that_do():
    completions = [ids("one. two"), ids("three. ")]
    with pytest.raises(ValueError, match=r"'\\n' never occurs in 2 completions.*'\. ' and '\.' do occur"):
        require_steps(cutter(), completions)
    require_steps(cutter(". "), completions)
    with pytest.raises(ValueError, match="no other usual separator"):
        require_steps(cutter(), [ids("abc")])


def test_rules_that_a_tokenizer_cannot_follow_are_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        cutter("")
    with pytest.raises(ValueError, match="cannot spell the step separator 'é'"):
        cutter("é")
    with pytest.raises(ValueError, match="no token '<unused_3>', did you mean '<unused3"):
        cutter(step_token="<unused_3>")


def test_a_token_is_found_by_name_or_by_what_it_is_encoded_as():
    assert vocabulary_id(TOKENIZER, "+") == ids("+")[0]
    with pytest.raises(ValueError, match="no token 'é'"):
        vocabulary_id(TOKENIZER, "é")
