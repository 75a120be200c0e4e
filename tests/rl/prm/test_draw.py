"""Drawing goes on where it was left, to the same bytes."""

import dataclasses
import json

import pytest

from rl.contract.recorded import ContractChanged
from rl.errors import UserError
from rl.prm.collect import Collector
from rl.prm.config import load_prm_config
from rl.prm.draw import data_folder, deciding, draw_chunks
from rl.prm.fit import Backbone
from rl.prm.inputs import Inputs
from rollout.types import SamplingParams

from .drawn import BREAK, POLICY, SAMPLING, Cutter, Rubric, Sampler, Tokens, prompt

NUM_QUESTIONS = 7


class Suggesting(Cutter):
    """Cuts, and has a rule to name in a message."""

    class rule:
        separator = "<break>"

    def suggestion(self, completions):
        return "'\\n' does occur"


class Never(Suggesting):
    def boundaries(self, token_ids):
        return ()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "judge.yaml"
    path.write_text("model: {path: tiny:llama}\n")
    collect = [f"collect.num_questions={NUM_QUESTIONS}", "collect.num_trajectories=2", "collect.num_rollouts=3"]
    engines = "rollout.max_num_seqs=4"  # two questions fill them
    return load_prm_config(path, [f"run.dir={tmp_path / 'run'}", "collect.num_test_rollouts=2", engines, *collect])


@pytest.fixture(autouse=True)
def policy(tmp_path):
    """The checkpoint of the policy, as far as anybody looks at it here."""
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def inputs(policy, cutter=None):
    prompts = tuple(prompt(index) for index in range(NUM_QUESTIONS))
    parts = {"train": tuple(p.id for p in prompts[:4]), "calibration": (prompts[4].id,), "test": (prompts[5].id,)}
    return Inputs(policy, Tokens(), SAMPLING, Backbone(None, None, "float32"), cutter or Suggesting(), prompts, parts)


def collector(cutter=None):
    return Collector(Sampler(), Rubric(), cutter or Suggesting(), Tokens(), POLICY, SAMPLING, 0, 2)


def drawn_bytes(config, policy, stop_after=NUM_QUESTIONS, cut_to=None):
    folder = data_folder(config)
    num_done = folder.open(deciding(config, inputs(policy)))
    for done in draw_chunks(config, inputs(policy), collector(), folder, num_done):
        if done >= stop_after:
            break
    if cut_to:
        folder.questions_path.write_bytes(folder.questions_path.read_bytes()[:-cut_to])
    return folder.questions_path.read_bytes()


@pytest.mark.parametrize(("stop_after", "cut_to"), [(3, 0), (3, 17), (1, 1)])
def test_an_interrupted_drawing_ends_in_the_same_bytes(config, policy, tmp_path, stop_after, cut_to):
    whole = drawn_bytes(config, policy)
    other = dataclasses.replace(config, run=dataclasses.replace(config.run, dir=str(tmp_path / "other")))
    assert drawn_bytes(other, policy, stop_after, cut_to) != whole
    assert drawn_bytes(other, policy) == whole
    assert len(whole.splitlines()) == NUM_QUESTIONS


def test_questions_to_test_on_may_have_rollouts_of_their_own_number(config, policy):
    lines = [json.loads(line) for line in drawn_bytes(config, policy).splitlines()]
    counts = [{len(prefix["rewards"]) for prefix in line["prefixes"]} for line in lines]
    assert counts == [{3}] * 5 + [{2}] + [{3}]


def test_a_separator_that_never_occurs_is_told_before_a_rollout_is_drawn(config, policy):
    folder, drawing = data_folder(config), collector(Never())
    folder.open({})
    with pytest.raises(UserError, match=r"'<break>' never occurs .*'\\n' does occur"):
        next(draw_chunks(config, inputs(policy, Never()), drawing, folder, 0))
    assert len(drawing.sampler.calls) == 1
    assert folder.questions() == []


def test_what_decides_no_draw_may_change(config, policy):
    before = deciding(config, inputs(policy))
    (policy / "README.md").write_text("what it was trained on")
    rollout = dataclasses.replace(config.rollout, num_actors=3, max_num_seqs=2)
    prm = dataclasses.replace(config.prm, family="pinball", lora_rank=2)
    assert deciding(dataclasses.replace(config, rollout=rollout, prm=prm), inputs(policy)) == before
    collect = dataclasses.replace(config.collect, num_rollouts=4)
    assert deciding(dataclasses.replace(config, collect=collect), inputs(policy)) != before


def test_a_drawing_does_not_go_on_with_other_weights(config, policy):
    drawn_bytes(config, policy, stop_after=2)
    (policy / "model.safetensors").write_bytes(b"trained on")
    with pytest.raises(ContractChanged, match=r"drawn otherwise: policy_files\.model\.safetensors: \w+… -> \w+…;"):
        drawn_bytes(config, policy)


@pytest.mark.parametrize("changed", [{"token_ids": (9,)}, {"id": "train/0/9"}, {"columns": {"answer": "9"}}])
def test_a_drawing_does_not_go_on_with_other_questions(config, policy, changed):
    drawn_bytes(config, policy, stop_after=2)
    before = inputs(policy)
    *others, last = before.prompts
    other = dataclasses.replace(before, prompts=(*others, dataclasses.replace(last, **changed)))
    with pytest.raises(ContractChanged, match="drawn otherwise: questions: "):
        data_folder(config).open(deciding(config, other))


def test_a_drawing_does_not_go_on_with_other_versions_or_other_code_of_a_reward(config, policy, monkeypatch):
    drawn_bytes(config, policy, stop_after=2)
    parts = deciding(config, inputs(policy))
    assert parts["versions"]["torch"] and parts["versions"]["reasoning-gym"]
    assert parts["reward"]["0"]["sources"]["reward.reasoning_gym"]
    parts["versions"]["torch"], parts["reward"]["0"]["sources"]["reward.reasoning_gym"] = "0.1", "edited"
    with pytest.raises(ContractChanged, match=r"versions\.torch: .* -> 0\.1; reward\.0\.sources\..* -> edited;"):
        data_folder(config).open(parts)


def test_where_a_change_is_allowed_the_drawing_goes_on(config, policy, caplog):
    drawn_bytes(config, policy, stop_after=2)
    (policy / "model.safetensors").write_bytes(b"trained on")
    assert data_folder(config).open(deciding(config, inputs(policy)), allow_change=True) == 2
    assert "drawn otherwise: policy_files.model.safetensors" in caplog.text


def test_the_policy_of_these_tests_takes_steps():
    """Else nothing above would have been cut."""
    sampling = SamplingParams(max_new_tokens=6, stop_token_ids=SAMPLING.stop_token_ids)
    drawing = dataclasses.replace(collector(), sampling=sampling)
    assert any(BREAK in t.token_ids for own in drawing.trajectories([prompt(0), prompt(1)]) for t in own)
