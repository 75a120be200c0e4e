"""What is wrong with the inputs is said before anything starts."""

import dataclasses
import json
from pathlib import Path

import pytest
import transformers

from rl.data import DataConfig, SourceConfig
from rl.errors import UserError
from rl.prm.config import load_prm_config
from rl.prm.inputs import read_inputs
from rl.prm.questions import read_questions
from rl.tiny_model import tiny_tokenizer

from ..commands import REPO


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *overrides: load_prm_config(REPO / "configs" / "tiny_prm.yaml", overrides)


def test_questions_are_different_and_split_by_question(config):
    inputs = read_inputs(config())
    ids = [prompt.id for prompt in inputs.prompts]
    assert sorted(id for part in inputs.parts.values() for id in part) == sorted(ids)
    assert len({prompt.token_ids for prompt in inputs.prompts}) == len(ids) == 10
    assert [len(inputs.parts[part]) for part in ("train", "calibration", "test")] == [6, 2, 2]


def test_the_backbone_must_have_the_policys_vocabulary(config):
    with pytest.raises(UserError, match="another vocabulary than the policy"):
        read_inputs(config("prm.backbone=known:reader"))


def test_a_step_token_must_be_of_the_vocabulary(config):
    with pytest.raises(ValueError, match="no token '<extra_0>'"):
        read_inputs(config("prm.step_token=<extra_0>"))
    assert read_inputs(config("prm.step_token=<unused1>")).cutter.rule.step_token == "<unused1>"


def test_sequences_must_fit_the_model(config):
    with pytest.raises(UserError, match="more than the 2048 positions"):
        read_inputs(config("rollout.max_model_len=4096"))


def test_a_backbone_that_cannot_be_exact_is_refused(config, tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path / "gpt2")
    size = {"n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 512, "bos_token_id": 1, "eos_token_id": 2}
    transformers.GPT2Config(**size).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ValueError, match="gpt2 cannot be exact here"):
        read_inputs(config(f"prm.backbone={tmp_path / 'gpt2'}"))


def test_a_reward_function_must_be_known(config):
    with pytest.raises(ValueError, match="did you mean 'digit_share'"):
        read_inputs(config("reward.functions=[{name: digit_shar}]"))


def asking(config, path, *files):
    """A config of plain questions out of files with these, all of which are wanted, none held out."""
    sources = [SourceConfig(jsonl=str(path / f"{number}.jsonl")) for number in range(len(files))]
    for source, questions in zip(sources, files, strict=True):
        lines = (json.dumps({"prompt": asked, "answer": "1"}) for asked in questions)
        Path(source.jsonl).write_text("".join(line + "\n" for line in lines))
    return lambda num_questions: dataclasses.replace(
        config(f"collect.num_questions={num_questions}"), data=DataConfig(sources=sources, num_held_out=0, chat=False)
    )


def test_what_differs_in_white_space_alone_is_asked_once(config, tmp_path):
    """Two files, for of the rows of one file that ask the same only the first counts."""
    given = asking(config, tmp_path, ["1 + 1?", "2 + 1?"], ["  1 + 1?\n", "2 + 1? ", "1 +1?", "3 + 1?"])
    texts = [prompt.text.strip() for prompt in read_questions(given(4), tiny_tokenizer())]
    assert sorted(texts) == ["1 + 1?", "1 +1?", "2 + 1?", "3 + 1?"]


def test_what_reads_the_same_to_the_model_is_asked_once(config, tmp_path):
    tokenizer = tiny_tokenizer()
    encode = tokenizer.encode
    tokenizer.encode = lambda text: encode(text.lower())
    given = asking(config, tmp_path, ["add one", "Add one", "add two"])
    with pytest.raises(UserError, match="the data has 2 different questions"):
        read_questions(given(3), tokenizer)


def test_a_task_with_too_few_questions_is_told(config, monkeypatch):
    monkeypatch.setattr("rl.prm.questions._MAX_DRAWS", 3)
    few = config("collect.num_questions=11", "data.params={min_terms: 1, max_terms: 1, min_digits: 1, max_digits: 1}")
    few = dataclasses.replace(few, data=dataclasses.replace(few.data, num_held_out=1))
    with pytest.raises(UserError, match="different questions to learn from, collect.num_questions asks for 11"):
        read_questions(few, tiny_tokenizer())
