import pytest

from rl.data import DataConfig, ReasoningGymDataset
from rl.tiny_model import tiny_tokenizer

SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def questions(prompts):
    return [prompt.columns["entry"]["question"] for prompt in prompts]


def test_batch_depends_on_seed_and_cursor_alone(tokenizer):
    first = ReasoningGymDataset(DataConfig(), tokenizer, 7, "train")
    other = ReasoningGymDataset(DataConfig(), tokenizer, 7, "train")
    whole = first.batch(0, 12)
    assert other.batch(8, 4) == whole[8:]
    assert other.batch(0, 8) == whole[:8]
    assert questions(ReasoningGymDataset(DataConfig(), tokenizer, 8, "train").batch(0, 12)) != questions(whole)


def test_batches_cross_chunks(tokenizer):
    dataset = ReasoningGymDataset(DataConfig(), tokenizer, 7, "train")
    assert dataset.batch(998, 4) == [dataset.batch(i, 1)[0] for i in (998, 999, 1000, 1001)]
    assert len({prompt.text for prompt in dataset.batch(998, 4)}) == 4


def test_splits_never_share_a_question(tokenizer):
    # Two one-digit terms give 200 questions, so without the exclusion nearly every held-out one would come up.
    config = DataConfig(params=SMALL, num_held_out=50)
    held_out = questions(ReasoningGymDataset(config, tokenizer, 1, "held_out").batch(0, 50))
    train = questions(ReasoningGymDataset(config, tokenizer, 1, "train").batch(0, 2000))
    assert len(set(held_out)) == 50
    assert len(set(train)) > 140
    assert not set(held_out) & set(train)


def test_prompt_carries_what_its_reward_needs(tokenizer):
    config = DataConfig(params=SMALL, num_held_out=10, suffix=" Only the number.")
    dataset = ReasoningGymDataset(config, tokenizer, 3, "held_out")
    prompt = dataset.batch(5, 1)[0]
    entry = prompt.columns["entry"]
    left, sign, right = entry["metadata"]["expression"].split()
    assert prompt.id == "held_out/0/5"
    assert prompt.columns["task"] == "chain_sum"
    assert prompt.columns["answer"] == str(int(left) + int(right) if sign == "+" else int(left) - int(right))
    assert prompt.text == entry["question"] + " Only the number."


def test_chat_prompt_is_the_template_around_the_text(tokenizer):
    config = DataConfig(system_prompt="Be brief.")
    prompt = ReasoningGymDataset(config, tokenizer, 0, "train").batch(0, 1)[0]
    assert all(type(token) is int for token in prompt.token_ids)
    assert tokenizer.decode(prompt.token_ids) == f"<bos><|system|>Be brief.<eos><|user|>{prompt.text}<eos><|assistant|>"


def test_empty_system_prompt_adds_no_message(tokenizer):
    prompt = ReasoningGymDataset(DataConfig(), tokenizer, 0, "train").batch(0, 1)[0]
    assert tokenizer.decode(prompt.token_ids) == f"<bos><|user|>{prompt.text}<eos><|assistant|>"


def test_plain_prompt_is_the_text_alone(tokenizer):
    prompt = ReasoningGymDataset(DataConfig(chat=False), tokenizer, 0, "train").batch(0, 1)[0]
    assert tokenizer.decode(prompt.token_ids) == prompt.text


def test_held_out_questions_end(tokenizer):
    dataset = ReasoningGymDataset(DataConfig(num_held_out=10), tokenizer, 0, "held_out")
    assert len(dataset.batch(0, 10)) == 10
    with pytest.raises(ValueError, match=r"10 held-out questions, asked for number 11"):
        dataset.batch(1, 10)


@pytest.mark.parametrize("num_held_out", [200, 201])
def test_task_too_small_to_hold_questions_out_is_refused(num_held_out, tokenizer):
    # 10 x 10 pairs of one-digit terms with two signs are 200 questions: 201 cannot be had, 200 leave none to train on.
    with pytest.raises(ValueError, match="too few different questions"):
        ReasoningGymDataset(DataConfig(params=SMALL, num_held_out=num_held_out), tokenizer, 3, "train")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(task="chain_sun"), "did you mean 'chain_sum'"),
        (DataConfig(params={"max_term": 2}), "did you mean 'max_terms'"),
        (DataConfig(params={"seed": 2}), "may not set seed"),
        (DataConfig(params={"min_terms": 5, "max_terms": 2}), "max_terms must be >= min_terms"),
        (DataConfig(num_prompts=0), "num_prompts must be at least 1, got 0"),
    ],
)
def test_wrong_configuration_is_refused(config, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        ReasoningGymDataset(config, tokenizer, 0, "train")


def test_chat_without_a_template_is_refused():
    bare = tiny_tokenizer()
    bare.chat_template = None
    with pytest.raises(ValueError, match=r"set data\.chat=false"):
        ReasoningGymDataset(DataConfig(), bare, 0, "train")
