import pytest

from rl.data import Limited, SourceConfig
from rl.errors import UserError


@pytest.fixture
def long(load, write_jsonl):
    """Five questions, of which the fourth line's has 54 tokens with its template, the others 5."""
    path = write_jsonl([{"prompt": text} for text in ("a", "b", "c", "d" * 50, "e")])
    return path, load(SourceConfig(jsonl=str(path)), num_held_out=0).train


def test_prompts_that_fit_exactly_pass(long):
    _, train = long
    limited = Limited(train, max_model_len=64, max_new_tokens=10)
    assert limited.batch(3, 10) == train.batch(3, 10)
    assert [limited.key(cursor) for cursor in range(3, 13)] == [prompt.text for prompt in train.batch(3, 10)]
    assert limited.longest.num_tokens == 54


def test_a_prompt_of_a_file_that_does_not_fit_is_named_before_anything_is_asked(long):
    path, train = long
    with pytest.raises(UserError) as caught:
        Limited(train, max_model_len=64, max_new_tokens=11)
    assert str(caught.value) == (
        f"{path}, line 4 has 54 tokens and rollout.max_model_len=64 leaves room for 53 beside a completion; "
        "raise rollout.max_model_len or take it out"
    )


def test_a_prompt_of_an_endless_source_that_does_not_fit_is_named_when_it_comes(load):
    limited = Limited(load(SourceConfig(task="chain_sum")).train, max_model_len=32, max_new_tokens=16)
    with pytest.raises(UserError, match=r"prompt train/0/0 has \d+ tokens and rollout.max_model_len=32 leaves room"):
        limited.batch(0, 4)
