import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import Qwen2Config, Qwen2Model

from reward.prm.others.models import OtherModel, batches_of_like_length
from reward.prm.others.settings import OtherPRM
from reward.prm.steps import StepInput
from rl.tiny_model import tiny_model, tiny_tokenizer

HIDDEN = 16
INPUTS = [StepInput(tuple(range(3, 3 + length)), (1, length), (0, length - 1)) for length in (9, 4, 30, 4)]


@pytest.fixture
def qwen(tmp_path):
    """A folder shaped as Qwen2.5-Math-PRM: a decoder under `model.`, a head of two layers under `score.`."""
    config = Qwen2Config(
        vocab_size=64, hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.auto_map = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel"}
    torch.manual_seed(0)
    decoder = Qwen2Model(config).eval()
    head = {"0.weight": (HIDDEN, HIDDEN), "0.bias": (HIDDEN,), "2.weight": (2, HIDDEN), "2.bias": (2,)}
    score = {f"score.{name}": torch.randn(shape) for name, shape in head.items()}
    config.save_pretrained(tmp_path)
    save_file({f"model.{name}": tensor for name, tensor in decoder.state_dict().items()} | score, weights(tmp_path))
    return tmp_path, decoder, score


def weights(folder):
    return folder / "model.safetensors"


def settings(folder, kind, **more):
    return OtherPRM(model=str(folder), kind=kind, dtype="float32", **more)


def flat(rows):
    return [row[0] for given in rows for row in given]


@pytest.mark.parametrize("max_tokens", [1, 60, 1000])
def test_a_token_classifier_gives_the_probability_of_the_good_label(qwen, max_tokens):
    folder, decoder, score = qwen
    expected = []
    for given in INPUTS:
        states = decoder(input_ids=torch.tensor([given.token_ids])).last_hidden_state[0, list(given.positions)]
        inside = functional.relu(states @ score["score.0.weight"].t() + score["score.0.bias"])
        logits = inside @ score["score.2.weight"].t() + score["score.2.bias"]
        expected += logits.softmax(-1)[:, 1].tolist()
    found = OtherModel(settings(folder, "token_classification", max_tokens=max_tokens)).read(INPUTS)
    assert flat(found) == pytest.approx(expected, abs=1e-5)
    turned = OtherModel(settings(folder, "token_classification", good_label=0)).read(INPUTS)
    assert flat(turned) == pytest.approx([1 - p for p in expected], abs=1e-5)


def test_a_head_of_one_layer_is_read_as_well(qwen):
    folder, decoder, score = qwen
    tensors = {name: tensor for name, tensor in load_file(weights(folder)).items() if not name.startswith("score.")}
    save_file(tensors | {"score.weight": score["score.2.weight"]}, weights(folder))
    [(_, (found,))] = OtherModel(settings(folder, "token_classification")).read(INPUTS[:1])
    state = decoder(input_ids=torch.tensor([INPUTS[0].token_ids])).last_hidden_state[0, -1]
    expected = (score["score.2.weight"] @ state).softmax(-1)[1].item()
    assert found == pytest.approx(expected, abs=1e-5)


def test_heads_that_no_prm_has_are_refused(qwen):
    folder, _, _ = qwen
    tensors = {name: tensor for name, tensor in load_file(weights(folder)).items() if not name.startswith("score.")}
    save_file(tensors | {"score.weight": torch.zeros(3, HIDDEN)}, weights(folder))
    with pytest.raises(ValueError, match="has 3 labels; a PRM has two"):
        OtherModel(settings(folder, "token_classification"))
    save_file(tensors, weights(folder))
    with pytest.raises(ValueError, match="has no classification head"):
        OtherModel(settings(folder, "token_classification"))


def test_plus_against_minus_is_read_off_the_logits(tmp_path):
    tokenizer = tiny_tokenizer()
    model = tiny_model("llama", tokenizer, seed=0).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pair = [tokenizer.get_vocab()[token] for token in ("+", "-")]
    expected = []
    for given in INPUTS:
        logits = model(input_ids=torch.tensor([given.token_ids])).logits[0, list(given.positions)][:, pair]
        expected += logits.softmax(-1)[:, 0].tolist()
    assert flat(OtherModel(settings(tmp_path, "plus_minus")).read(INPUTS)) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="no token 'plus'"):
        OtherModel(settings(tmp_path, "plus_minus", good="plus"))


def test_batches_have_like_lengths_and_keep_to_the_limit():
    assert batches_of_like_length([5, 9, 4, 9, 1], max_tokens=18) == [[1, 3], [0, 2, 4]]
    assert batches_of_like_length([50, 2, 2], max_tokens=10) == [[0], [1, 2]]
