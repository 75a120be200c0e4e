"""What is trained, and what is written: adapters under the canonical ops, merged without changing the function."""

import pytest
import torch

from kernels import seam
from kernels.linear import LinearPlan
from reward.prm.model import PRMSettings, load_prm
from rl.models import load_tokenizer, resolve_model
from rl.prm.examples import ReadQuestion, ReadSolution
from rl.prm.lora import inject_adapters
from rl.prm.objective import HeldOutLoss, PRMObjective, parameters_at
from rl.supervised.objective import Totals

PLAN = LinearPlan("aten", 8)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return resolve_model("tiny:llama", tmp_path_factory.mktemp("models"), seed=0)


def objective(tuning="lora"):
    return PRMObjective(PRMSettings("beta"), (0.1, 0.2, -1.0, -2.0), tuning, lora_rank=4, lora_alpha=8, seed=0)


def solution(question, tokens, positions, successes, weight=1.0):
    trials = (4,) * len(positions)
    return ReadSolution(question, tokens, positions, positions, successes, trials, (False,) * len(positions), weight)


ASKED = (7, 8, 9)
SOLUTIONS = [
    solution("a", (*ASKED, *range(10, 27)), (2, 9, 19), (0, 1, 4), weight=0.2),
    solution("a", (*ASKED, *range(30, 40)), (2, 12), (0, 3), weight=0.2),
    solution("b", tuple(range(40, 51)), (1, 10), (2, 2), weight=0.5),
]
QUESTIONS = [ReadQuestion(tuple(SOLUTIONS[:2])), ReadQuestion((SOLUTIONS[2],))]


@pytest.fixture(scope="module")
def model(backbone):
    """Adapters and head as after some training."""
    loaded = objective().load(str(backbone), "float32", PLAN)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in loaded.named_parameters():
            if "lora_B" in name or name == "head.weight":
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    seam.repack(loaded)
    return loaded


def test_only_adapters_and_head_are_trained(backbone):
    loaded = objective().load(str(backbone), "float32", PLAN)
    trained = {name for name, parameter in loaded.named_parameters() if parameter.requires_grad}
    assert {"head.weight", "head.bias"} < trained
    assert all("lora_" in name for name in trained - {"head.weight", "head.bias"})
    assert len(trained) == 2 + 2 * 7 * 2, "two matrices for each of seven linear layers of two decoder layers"


def test_it_is_loaded_the_same_every_time(backbone):
    first, second = (objective().load(str(backbone), "float32", PLAN) for _ in range(2))
    torch.rand(1)
    for (name, one), (_, other) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_every_linear_layer_has_the_canonical_product(model):
    plain = [name for name, module in model.named_modules() if type(module) is torch.nn.Linear]
    assert plain == []


def test_the_certified_shapes_are_those_of_what_is_trained(backbone, model, monkeypatch):
    asked = []
    monkeypatch.setattr("rl.prm.objective.certify_linear", lambda shapes, dtype: asked.append((shapes, dtype)))
    objective().certify(str(backbone), "float32")
    assert asked == [(seam.linear_shapes(model.backbone), torch.float32)]


def test_what_a_place_is_given_does_not_depend_on_what_it_is_packed_with(model):
    with torch.no_grad():
        together = parameters_at(model, SOLUTIONS)
        apart = torch.cat([parameters_at(model, [one]) for one in SOLUTIONS])
    assert torch.equal(together, apart)


def test_a_fresh_head_says_its_bias(backbone):
    with torch.no_grad():
        said = parameters_at(objective().load(str(backbone), "float32", PLAN), SOLUTIONS, max_rows=16)
    assert torch.equal(said, torch.tensor((0.1, 0.2, -1.0, -2.0)).expand(7, 4))


def test_the_shares_of_micro_batches_sum_to_the_mean_over_questions(model):
    totals = Totals(1, 0, len(QUESTIONS), 7)
    with torch.no_grad():
        means = []
        for question in QUESTIONS:
            said = torch.cat([parameters_at(model, [one]) for one in question.solutions])
            counts = [
                torch.tensor([c for s in question.solutions for c in getattr(s, n)]) for n in ("successes", "trials")
            ]
            means.append(float(model.family.loss(said, *(count.float() for count in counts)).mean()))
        shares = sum(float(objective().loss(model, [question], totals)) for question in QUESTIONS)
        held_out = HeldOutLoss(objective(), tuple(QUESTIONS), max_tokens=25).measure(model)
    assert shares == pytest.approx(sum(means) / 2, rel=1e-6)
    assert held_out == {"calibration/loss": pytest.approx(shares, rel=1e-6)}


def test_every_trained_weight_has_a_gradient(model):
    loss = objective().loss(model, QUESTIONS, Totals(1, 0, 2, 7))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient.abs().sum() > 0 for gradient in torch.autograd.grad(loss, trained))


def test_the_saved_model_is_plain_and_says_what_the_trained_one_said(model, backbone, tmp_path):
    objective().save(model, tmp_path)
    load_tokenizer(backbone).save_pretrained(tmp_path)
    read = load_prm(tmp_path, "float32", PLAN)
    assert not any("lora" in name for name, _ in read.named_parameters())
    with torch.no_grad():
        trained, merged = parameters_at(model, SOLUTIONS), parameters_at(read, SOLUTIONS)
    torch.testing.assert_close(merged, trained, rtol=0, atol=1e-4)
    assert not torch.equal(merged[:, :1], torch.full_like(merged[:, :1], 0.1)), "the head reads something"


def test_full_tuning_leaves_out_only_an_output_that_is_not_the_embedding(backbone):
    loaded = objective("full").load(str(backbone), "float32", PLAN)
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_adapters_add_nothing_until_they_are_trained(backbone):
    from transformers import AutoModelForCausalLM

    plain, adapted = (AutoModelForCausalLM.from_pretrained(backbone).eval() for _ in range(2))
    inject_adapters(adapted, 4, 8, seed=0)
    tokens = torch.arange(10, 30)[None]
    with torch.no_grad():
        assert torch.equal(plain(tokens).logits, adapted(tokens).logits)
