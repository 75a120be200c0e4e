import random

import pytest

from reward.reasoning_gym import load_reasoning_gym
from rl.data import DataConfig, SourceConfig, load_data
from rl.errors import UserError

SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


@pytest.fixture(scope="module")
def task(tokenizer):
    """Loads a task as the short form in a config asks for it."""
    return lambda seed=0, **data: load_data(DataConfig(**data), tokenizer, seed)


def questions(prompts):
    return [prompt.columns["entry"]["question"] for prompt in prompts]


def test_the_prompts_of_runs_that_exist_stay_as_they_are(task):
    # As configs/tiny.yaml has it. The final hash of a run is over ids and tokens, here one token a character.
    data = task(params=SMALL | {"max_digits": 2}, num_held_out=8)
    asked = [(prompt.id, prompt.text) for prompt in data.train.batch(0, 3) + data.held_out.batch(0, 2)]
    assert asked == [
        ("train/0/0", "State the final answer to the following arithmetic problem: 34 + 96 ="),
        ("train/0/1", "State the final answer to the following arithmetic problem: 75 + 94 ="),
        ("train/0/2", "State the final answer to the following arithmetic problem: 9 - 0 ="),
        ("held_out/0/0", "State the final answer to the following arithmetic problem: 48 - 33 ="),
        ("held_out/0/1", "State the final answer to the following arithmetic problem: 49 - 22 ="),
    ]


def test_a_batch_depends_on_seed_and_cursor_alone(task):
    whole = task(7).train.batch(0, 12)
    other = task(7).train
    assert other.batch(8, 4) == whole[8:]
    assert other.batch(0, 8) == whole[:8]
    assert questions(task(8).train.batch(0, 12)) != questions(whole)


def test_batches_cross_chunks(task):
    train = task(7).train
    assert train.batch(998, 4) == [train.batch(i, 1)[0] for i in (998, 999, 1000, 1001)]
    assert len({prompt.text for prompt in train.batch(998, 4)}) == 4


def test_splits_never_share_a_question(task):
    # Two one-digit terms give 200 questions, so without the exclusion nearly every held-out one would come up.
    data = task(1, params=SMALL, num_held_out=50)
    held_out, train = questions(data.held_out.batch(0, 50)), questions(data.train.batch(0, 2000))
    assert len(set(held_out)) == 50
    assert len(set(train)) > 140
    assert not set(held_out) & set(train)


def test_a_prompt_carries_what_its_reward_needs(task):
    prompt = task(3, params=SMALL, num_held_out=10, suffix=" Only the number.").held_out.batch(5, 1)[0]
    entry = prompt.columns["entry"]
    left, sign, right = entry["metadata"]["expression"].split()
    assert prompt.id == "held_out/0/5"
    assert (prompt.columns["task"], prompt.columns["params"]) == ("chain_sum", SMALL)
    assert prompt.columns["answer"] == str(int(left) + int(right) if sign == "+" else int(left) - int(right))
    assert prompt.text == entry["question"] + " Only the number."


@pytest.mark.parametrize("num_held_out", [200, 201])
def test_a_task_too_small_to_hold_questions_out_is_refused(num_held_out, task):
    # 10 x 10 pairs of one-digit terms with two signs are 200 questions: 201 cannot be had, 200 leave none to train on.
    with pytest.raises(ValueError, match="too few different questions"):
        task(3, params=SMALL, num_held_out=num_held_out)


def test_two_sources_of_one_task_ask_different_questions(load):
    data = load(SourceConfig(task="chain_sum"), SourceConfig(task="chain_sum"))
    asked = questions(data.train.batch(0, 40))
    assert len(set(asked)) == 40


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task": "chain_sun"}, "data.task must be a reasoning-gym task, got 'chain_sun', did you mean 'chain_sum'?"),
        ({"params": {"max_term": 2}}, "data.params: task chain_sum has no parameter 'max_term', did you mean 'max_te"),
        ({"params": {"seed": 2}}, "data.params may not set seed"),
        ({"params": {"min_terms": 5, "max_terms": 2}}, "refuses data.params .* max_terms must be >= min_terms"),
        ({"sources": [SourceConfig(task="chain_sun")]}, "data.sources.0.task must be a reasoning-gym task"),
        ({"sources": [SourceConfig(task="chain_sum", params={"size": 1})]}, "data.sources.0.params may not set size"),
    ],
)
def test_a_wrong_task_or_parameter_is_refused(data, message, task):
    with pytest.raises(ValueError, match=message):
        task(**data)


def test_a_task_that_lacks_a_package_is_refused(task, monkeypatch):
    def lack(*_, **__):
        raise ImportError("pycosat is needed here")

    monkeypatch.setattr(load_reasoning_gym().factory.DATASETS["chain_sum"][0], "__getitem__", lack)
    with pytest.raises(UserError, match="data.task chain_sum cannot be used here: pycosat is needed here"):
        task()


def test_a_task_that_asks_differently_in_every_process_is_refused_until_the_hash_seed_is_fixed(task, monkeypatch):
    monkeypatch.setattr("rl.data.gym._hashes_are_random", lambda: True)
    with pytest.raises(UserError, match="data.task ransom_note does not ask the same again .* PYTHONHASHSEED=0"):
        task(task="ransom_note")
    monkeypatch.setattr("rl.data.gym._hashes_are_random", lambda: False)
    assert len(task(task="ransom_note", num_held_out=2).train.batch(0, 3)) == 3


def test_a_task_that_draws_from_the_global_generator_asks_the_same_whatever_was_drawn_before(task):
    data = {"task": "list_functions", "num_held_out": 3}
    random.seed(1)
    whole = task(**data).train.batch(0, 200)  # a few in a hundred draw from it
    random.seed(2)
    expected = random.Random(2).random()
    assert task(**data).train.batch(50, 150) == whole[50:]
    assert random.random() == expected
