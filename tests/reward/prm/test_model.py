import json
import random
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from kernels import seam
from kernels.attention import PackedLayout, Sequence
from kernels.certify import certify_linear
from reward.prm.model import HEAD_FILE, SETTINGS_FILE, PRMSettings, QuantilePRM, load_prm, read_settings
from reward.prm.own import OwnModel, OwnReader, require_own
from reward.prm.recalibration import HeadRecalibration, save_recalibration
from reward.prm.scorer import BatchedStepScorer
from rl.tiny_model import tiny_model, tiny_tokenizer
from rollout.search.stepwise import Reading
from rollout.types import Prompt

from .prm_folders import write_prm

SETTINGS = PRMSettings(levels=(0.1, 0.5, 0.9))
BIAS = (0.5, 1.0, -1.0, -2.0)
TOKENIZER = tiny_tokenizer()


def fresh(seed=0):
    backbone = tiny_model("llama", TOKENIZER, seed)
    seam.install(backbone, certify_linear(seam.linear_shapes(backbone), torch.float32))
    return QuantilePRM.over(backbone, SETTINGS, BIAS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_prm(tmp_path_factory.mktemp("prm") / "model", SETTINGS)


@pytest.fixture(scope="module")
def model(folder):
    return load_prm(folder)


def prompt(text):
    return Prompt(text, text, tuple(TOKENIZER.encode(text, add_special_tokens=False)), {})


def readings():
    draw = random.Random(0)
    questions = [prompt("1+1="), prompt("What is 30 - 4 ? ")]
    alphabet = TOKENIZER.encode("0123456789+= abc\n\n\n", add_special_tokens=False)
    solutions = [tuple(draw.choices(alphabet, k=draw.randrange(0, 40))) for _ in range(12)]
    return [Reading(questions[i % 2], tokens, has_ended=i % 3 == 0) for i, tokens in enumerate(solutions)]


def test_a_fresh_head_says_its_bias_of_everything_and_can_be_trained():
    one = fresh()
    layout = PackedLayout((Sequence(0, 5),))
    said = one(torch.arange(5) + 40, layout, torch.tensor([1, 4]))
    assert said.dtype == torch.float32
    assert said.tolist() == [pytest.approx(BIAS)] * 2
    said.sum().backward()
    assert bool(one.head.weight.grad.abs().sum() > 0)
    assert one.head.bias.grad.tolist() == [2.0] * 4


def test_a_saved_model_says_the_same_to_the_bit(folder, model):
    layout, tokens, rows = PackedLayout((Sequence(0, 9),)), torch.arange(9) + 30, torch.tensor([0, 8])
    with torch.no_grad():
        first = model(tokens, layout, rows)
        assert torch.equal(load_prm(folder)(tokens, layout, rows), first)
    assert not torch.equal(first[0], first[1])
    assert read_settings(folder) == SETTINGS


def test_scores_of_a_solution_do_not_depend_on_the_batch_to_the_bit(model):
    scorer = BatchedStepScorer(OwnReader(SETTINGS, TOKENIZER), OwnModel(model).read)
    asked = readings()
    together = scorer.score(asked)
    assert [scorer.score([reading])[0] for reading in asked] == together
    small = BatchedStepScorer(OwnReader(SETTINGS, TOKENIZER), OwnModel(model, max_rows=30).read)
    assert small.score(asked[::-1])[::-1] == together


def test_a_prefix_is_scored_as_in_the_solution_that_it_becomes_to_the_bit(model):
    scorer = BatchedStepScorer(OwnReader(SETTINGS, TOKENIZER), OwnModel(model).read)
    longest = max(readings(), key=lambda reading: len(scorer.step_ends(reading.token_ids, False)))
    whole = scorer.score([Reading(longest.prompt, longest.token_ids)])[0]
    assert len(whole.ends) > 2
    for index, end in enumerate(whole.ends):
        part = scorer.score([Reading(longest.prompt, longest.token_ids[:end])])[0]
        assert part.ends == whole.ends[: index + 1]
        assert part.quantiles == whole.quantiles[: index + 1]
        assert part.num_tokens_read == len(longest.prompt.token_ids) + end


def test_scores_ascend_over_the_levels_and_tell_solutions_apart(model):
    scores = BatchedStepScorer(OwnReader(SETTINGS, TOKENIZER), OwnModel(model).read).score(readings())
    rows = {row for score in scores for row in score.quantiles}
    assert all(list(row) == sorted(row) and len(row) == 3 for row in rows)
    assert len(rows) > 10


def test_a_recalibration_in_the_folder_is_applied(folder, model, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    recalibration = HeadRecalibration(0.5, (1.0, 0.0, 0.0, 0.0), SETTINGS.levels, (0.2, 0.5, 0.8))
    save_recalibration(recalibration, tmp_path)
    outputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    expected = recalibration.of(SETTINGS.make_family()).quantiles(outputs)
    mended = load_prm(tmp_path).family.quantiles(outputs)
    assert torch.equal(mended, expected)
    assert not torch.equal(model.family.quantiles(outputs), expected)


def test_a_folder_that_holds_no_prm_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=f"has no {SETTINGS_FILE}, so it is no process reward model"):
        read_settings(tmp_path)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(asdict(SETTINGS) | {"levels": [0.9, 0.1]}))
    with pytest.raises(ValueError, match="levels must ascend"):
        read_settings(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(asdict(SETTINGS) | {"seperator": "x"}))
    with pytest.raises(ValueError, match="does not hold a PRM's settings.*seperator"):
        read_settings(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(asdict(SETTINGS)))
    head = load_file(tmp_path / HEAD_FILE)
    save_file({"weight": head["weight"][:2].contiguous(), "bias": head["bias"][:2]}, tmp_path / HEAD_FILE)
    with pytest.raises(ValueError, match=r"is \(2, 64\), its settings and backbone ask for \(4, 64\)"):
        load_prm(tmp_path)


def test_a_prm_of_another_vocabulary_is_refused(folder):
    assert require_own(folder, TOKENIZER)[0] == SETTINGS
    policy = tiny_tokenizer()
    policy.add_tokens(["<another>"])
    with pytest.raises(ValueError, match="1 of its 129 tokens differ, '<another>' first, which is 128 .* None for the"):
        require_own(folder, policy)
