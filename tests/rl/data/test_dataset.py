import collections
import random

import pytest

from rl.data import DataConfig, SourceConfig, load_held_out
from rl.data.types import Longest
from rl.errors import UserError

GYM = SourceConfig(task="chain_sum", weight=2)


@pytest.fixture
def mixed(twenty, write_jsonl):
    """Half sums made on the spot, a quarter from each of two files that share ten of their twenty questions."""
    rows = [{"question": f"{i} + 1", "answer": str(i + 1)} for i in range(10, 30)]
    more = SourceConfig(jsonl=str(write_jsonl(rows, "more.jsonl")), prompt="question")
    return GYM, twenty, more


def by_source(prompts):
    groups = collections.defaultdict(list)
    for prompt in prompts:
        groups[prompt.id.split("/")[1]].append(prompt)
    return groups


def test_sources_have_their_shares_and_their_names_in_the_ids(load, mixed):
    prompts = load(*mixed).train.batch(0, 400)
    assert {name: len(group) for name, group in by_source(prompts).items()} == pytest.approx(
        {"chain_sum": 200, "sums": 100, "more": 100}, abs=3
    )
    assert len({prompt.id for prompt in prompts}) == 400


def test_every_batch_has_close_to_the_shares(load, mixed):
    train = load(*mixed).train
    for cursor in range(0, 160, 16):
        assert 6 <= len(by_source(train.batch(cursor, 16))["chain_sum"]) <= 10


def test_any_batch_is_a_cut_of_the_same_order_whatever_was_asked_before(load, mixed):
    whole, draws = load(*mixed, seed=6).train.batch(0, 300), random.Random(0)
    once = load(*mixed, seed=6).train
    for _ in range(20):
        cursor = draws.randrange(290)
        size = draws.randrange(1, 300 - cursor)
        assert once.batch(cursor, size) == whole[cursor : cursor + size]
    assert load(*mixed, seed=6).train.batch(150, 150) == whole[150:]


def test_each_source_goes_through_its_own_epochs(load, mixed):
    groups = by_source(load(*mixed, num_held_out=0).train.batch(0, 400))
    for name in ("sums", "more"):
        for epoch in range(4):
            asked = groups[name][20 * epoch : 20 * (epoch + 1)]
            assert {prompt.id.split("/")[2] for prompt in asked} == {str(epoch)}
            assert len({prompt.text for prompt in asked}) == 20


def test_a_source_in_a_mixture_asks_what_it_would_ask_alone(load, mixed):
    together = by_source(load(*mixed, num_held_out=0).train.batch(0, 80))
    alone = load(mixed[0], num_held_out=0).train.batch(0, 30)
    assert [prompt.text for prompt in together["chain_sum"][:30]] == [prompt.text for prompt in alone]


def test_one_source_in_a_list_is_the_same_as_in_short_form(load):
    listed = load(SourceConfig(task="chain_sum", params={"max_terms": 3}), num_held_out=5)
    short = load(task="chain_sum", params={"max_terms": 3}, num_held_out=5)
    assert listed.train.batch(0, 20) == short.train.batch(0, 20)
    assert listed.held_out.batch(0, 5) == short.held_out.batch(0, 5)


@pytest.mark.parametrize("seed", range(4))
def test_what_one_source_holds_out_no_source_trains_on(load, mixed, seed):
    _, one, more = mixed
    data = load(one, more, seed=seed, num_held_out=14)
    held_out = {prompt.text for prompt in data.held_out.batch(0, 14)}
    assert not held_out & {prompt.text for prompt in data.train.batch(0, 200)}


def test_a_task_does_not_train_on_what_a_file_holds_out(load, write_jsonl):
    one_digit = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    easy = SourceConfig(task="chain_sum", params=one_digit)
    asked = sorted({prompt.text for prompt in load(easy, num_held_out=0).train.batch(0, 500)})[:20]
    file = SourceConfig(jsonl=str(write_jsonl([{"prompt": text} for text in asked])))
    data = load(easy, file, num_held_out=20)
    held_out = {prompt.text for prompt in data.held_out.batch(0, 20)}
    assert len(held_out & set(asked)) >= 9
    assert not held_out & {prompt.text for prompt in data.train.batch(0, 600)}


def test_held_out_questions_come_in_the_shares_of_the_sources(load, mixed):
    prompts = load(*mixed, num_held_out=16).held_out.batch(0, 16)
    sizes = {name: len(group) for name, group in by_source(prompts).items()}
    assert sum(sizes.values()) == 16
    assert 6 <= sizes["chain_sum"] <= 10
    assert all(prompt.id.startswith("held_out/") for prompt in prompts)
    assert len({prompt.id for prompt in prompts}) == 16


def test_held_out_questions_can_be_had_alone_even_where_they_are_all_there_are(load, twenty, tokenizer):
    config = DataConfig(sources=[twenty, GYM], num_held_out=10)
    alone = load_held_out(config, tokenizer, 0)
    assert alone.batch(0, 10) == load(twenty, GYM, num_held_out=10).held_out.batch(0, 10)
    everything = load_held_out(DataConfig(sources=[twenty], num_held_out=20), tokenizer, 0)
    assert {prompt.text for prompt in everything.batch(0, 20)} == {f"{i} + 1" for i in range(20)}


def test_sources_that_share_a_name_are_numbered(load):
    ids = {prompt.id.rpartition("/0/")[0] for prompt in load(GYM, GYM).train.batch(0, 4)}
    assert ids == {"train/0-chain_sum", "train/1-chain_sum"}


def test_a_million_prompts_in_is_as_good_a_place_as_any(load, mixed):
    train = load(*mixed).train
    assert train.batch(10**6, 8)[3:] == train.batch(10**6 + 3, 5)
    assert len({prompt.id for prompt in train.batch(10**6, 8)}) == 8


def test_the_longest_prompt_of_what_has_an_end_is_known(load, write_jsonl):
    path = write_jsonl([{"prompt": "1"}, {"prompt": "1" * 50}, {"prompt": "1" * 49}, {"prompt": "0"}])
    train = load(SourceConfig(jsonl=str(path)), num_held_out=0).train
    # One token a character, and <bos>, <|user|>, <eos> and <|assistant|>.
    assert train.longest == Longest(54, f"{path}, line 2")
    assert load(SourceConfig(jsonl=str(path)), GYM, num_held_out=0).train.longest == train.longest
    assert load(GYM).train.longest is None
    assert load(GYM).held_out.longest is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"num_prompts": 0}, "data.num_prompts must be at least 1, got 0"),
        ({"num_held_out": -1}, "data.num_held_out must be 0 or more, got -1"),
    ],
)
def test_wrong_numbers_are_refused(load, data, message):
    with pytest.raises(UserError, match=message):
        load(GYM, **data)


def test_wrong_sources_are_refused_before_any_is_read(load):
    with pytest.raises(UserError, match="data.sources.0.weight must be a number above 0, got 0"):
        load(SourceConfig(jsonl="absent.jsonl", weight=0))


def test_the_digest_knows_every_question_that_comes_to_an_end(load, write_jsonl):
    rows = [{"question": f"{i} + 1", "answer": str(i + 1), "level": {"digits": [1]}} for i in range(20)]
    changed = [*rows[:-1], rows[-1] | {"level": {"digits": [2]}}]

    def digest(rows, name):
        return load(SourceConfig(jsonl=str(write_jsonl(rows, name)), prompt="question"), num_held_out=0).train.digest

    assert digest(rows, "a.jsonl") == digest(rows, "b.jsonl") != digest(changed, "c.jsonl")
    assert load(GYM).train.digest is None
