import itertools
import random

import pytest

from rl.data import SourceConfig
from rl.errors import UserError


def test_each_epoch_asks_every_question_once(load, twenty):
    train = load(twenty, num_held_out=3).train
    epochs = [train.batch(17 * epoch, 17) for epoch in range(5)]
    assert all(len({prompt.text for prompt in prompts}) == 17 for prompts in epochs)
    assert len({frozenset(prompt.text for prompt in prompts) for prompts in epochs}) == 1
    assert len({tuple(prompt.text for prompt in prompts) for prompts in epochs}) == 5


def test_an_id_tells_epoch_and_row(load, twenty):
    train = load(twenty, num_held_out=3).train
    for position, prompt in enumerate(train.batch(0, 60)):
        row = int(prompt.text.split()[0])
        assert prompt.id == f"train/{position // 17}/{row}"
    assert len({prompt.id for prompt in train.batch(0, 170)}) == 170


def test_any_batch_is_a_cut_of_the_same_order_epoch_boundaries_included(load, twenty):
    whole = load(twenty, seed=4).train.batch(0, 200)
    draws = random.Random(0)
    for _ in range(30):
        cursor = draws.randrange(190)
        size = draws.randrange(1, 200 - cursor)
        assert load(twenty, seed=4).train.batch(cursor, size) == whole[cursor : cursor + size]


def test_what_was_asked_before_changes_nothing(load, twenty):
    train = load(twenty).train
    whole = [train.batch(cursor, 10) for cursor in range(0, 100, 10)]
    assert [train.batch(cursor, 10) for cursor in reversed(range(0, 100, 10))] == whole[::-1]


def test_a_far_cursor_is_an_epoch_like_any_other(load, twenty):
    texts = [prompt.text for prompt in load(twenty).train.batch(17 * 10**6, 17)]
    assert sorted(texts) == sorted({prompt.text for prompt in load(twenty).train.batch(0, 17)})


def test_the_seed_decides_order_and_held_out(load, twenty):
    one, other = load(twenty, seed=1), load(twenty, seed=2)
    assert [p.text for p in one.train.batch(0, 17)] != [p.text for p in other.train.batch(0, 17)]
    assert {p.text for p in one.held_out.batch(0, 3)} != {p.text for p in other.held_out.batch(0, 3)}


@pytest.mark.parametrize("num_held_out", [0, 1, 7, 19])
def test_held_out_and_train_divide_the_file(load, twenty, num_held_out):
    data = load(twenty, num_held_out=num_held_out)
    held_out = {prompt.text for prompt in data.held_out.batch(0, num_held_out)}
    train = {prompt.text for prompt in data.train.batch(0, 20 - num_held_out)}
    assert len(held_out) == num_held_out
    assert not held_out & train
    assert held_out | train == {f"{i} + 1" for i in range(20)}


def test_more_held_out_questions_are_the_same_and_more(load, twenty):
    few, many = (load(twenty, num_held_out=num).held_out.batch(0, num) for num in (4, 9))
    assert many[:4] == few


def test_held_out_questions_stay_the_same_when_the_file_is_reordered(load, write_jsonl):
    rows = [{"prompt": f"{i} + 1"} for i in range(50)]
    random.Random(0).shuffle(shuffled := list(rows))
    texts = [
        [prompt.text for prompt in load(SourceConfig(jsonl=str(write_jsonl(order)))).held_out.batch(0, 3)]
        for order in (rows, shuffled)
    ]
    assert texts[0] == texts[1]


def test_a_question_that_stands_twice_is_asked_once_an_epoch_and_never_across_the_splits(load, write_jsonl, caplog):
    # Every question three times, with white space around it that a reader would not see.
    rows = [{"prompt": f"{i} + 1{end}"} for end, i in itertools.product(("", "\n", " "), range(20))]
    source = SourceConfig(jsonl=str(write_jsonl(rows)))
    for seed in range(5):
        data = load(source, seed=seed, num_held_out=8)
        held_out = {prompt.text.strip() for prompt in data.held_out.batch(0, 8)}
        train = [prompt.text.strip() for prompt in data.train.batch(0, 12)]
        assert len(held_out) == 8 and len(set(train)) == 12
        assert not held_out & set(train)
    assert "data.sources.0: 40 of its rows repeat a question and are left out" in caplog.text


def test_held_out_questions_can_come_from_a_file_of_their_own(load, write_jsonl):
    train = write_jsonl([{"prompt": f"{i} + 1"} for i in range(20)])
    test = write_jsonl([{"prompt": f"{i} + 1 "} for i in range(15, 25)], "test.jsonl")
    data = load(SourceConfig(jsonl=str(train), held_out=str(test)), num_held_out=4)
    held_out = data.held_out.batch(0, 4)
    assert {prompt.text for prompt in held_out} <= {f"{i} + 1 " for i in range(15, 25)}
    assert [prompt.id for prompt in held_out] == [f"held_out/0/{int(p.text.split()[0]) - 15}" for p in held_out]
    # None of the other file's questions is learned from, whether it is among the four or not.
    assert {prompt.text for prompt in data.train.batch(0, 15)} == {f"{i} + 1" for i in range(15)}


def test_a_file_too_small_to_hold_out_from_is_refused(load, twenty, write_jsonl):
    with pytest.raises(UserError, match="sums has 20 different questions to hold out from, 21 are to be held out"):
        load(twenty, num_held_out=21)
    with pytest.raises(UserError, match="all 20 questions of sums are held out, which leaves none to learn from"):
        load(twenty, num_held_out=20)
    test = write_jsonl([{"prompt": "7 + 7"}], "test.jsonl")
    with pytest.raises(UserError, match="1 different questions to hold out from, 2 are to be held out"):
        load(SourceConfig(jsonl=twenty.jsonl, held_out=str(test)), num_held_out=2)


def test_held_out_questions_end(load, twenty):
    data = load(twenty, num_held_out=5)
    assert len(data.held_out.batch(0, 5)) == 5
    with pytest.raises(UserError, match="there are 5 held-out questions, asked for number 6; raise data.num_held_out"):
        data.held_out.batch(1, 5)


@pytest.mark.parametrize("without", [{}, {"answer": None}])
def test_a_row_without_the_answer_that_the_others_have_is_named(load, write_jsonl, without):
    path = write_jsonl([{"prompt": "a", "answer": "1"}, {"prompt": "b"} | without, {"prompt": "c", "answer": "3"}])
    with pytest.raises(UserError, match="line 2: there is no answer, though other rows have one"):
        load(SourceConfig(jsonl=str(path)))


def test_answers_may_be_left_out_altogether(load, write_jsonl):
    data = load(SourceConfig(jsonl=str(write_jsonl([{"prompt": letter} for letter in "abcde"]))))
    assert [prompt.columns for prompt in data.train.batch(0, 2)] == [{}, {}]


@pytest.mark.parametrize("name", ["jsonl", "held_out"])
def test_a_file_that_is_not_there_is_named_with_its_key(load, twenty, name):
    files = {"jsonl": twenty.jsonl} | {name: "absent.jsonl"}
    with pytest.raises(UserError, match=f"data.sources.0.{name}: there is no file at absent.jsonl"):
        load(SourceConfig(**files))


def test_a_held_out_file_is_read_as_carefully_as_the_other(load, twenty, write_jsonl):
    test = write_jsonl([{"prompt": "a", "answer": "1"}, {"question": "b", "answer": "2"}], "test.jsonl")
    with pytest.raises(UserError, match="test.jsonl, line 2: there is no column 'prompt'"):
        load(SourceConfig(jsonl=twenty.jsonl, held_out=str(test)))
