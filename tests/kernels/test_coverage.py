import pytest
import torch
import transformers

from kernels import seam
from kernels.certify import certify_linear
from kernels.coverage import logit_transform, uncovered
from kernels.logprobs import LogitTransform

from ..families import FAMILIES, SIZES


def made(name: str, **changes):
    """A family's model on the meta device."""
    config = FAMILIES[name](**SIZES, vocab_size=128)
    for key, value in changes.items():
        setattr(config, key, value)
    return on_meta(config)


def on_meta(config):
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_the_matrix_is_covered(name: str) -> None:
    assert uncovered(made(name)) == []


def test_experts_are_refused() -> None:
    sizes = SIZES | {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 32}
    assert any("experts" in reason for reason in uncovered(on_meta(transformers.MixtralConfig(**sizes))))


def test_layers_with_a_state_are_refused() -> None:
    model = made("llama", layer_types=["full_attention", "linear_attention"])
    assert any("linear_attention" in reason for reason in uncovered(model))


def test_a_model_that_does_not_predict_tokens_is_refused() -> None:
    config = transformers.T5Config(d_model=32, d_ff=32, num_layers=1, num_heads=2, vocab_size=32)
    with torch.device("meta"):
        model = transformers.T5ForConditionalGeneration(config)
    assert uncovered(model) == ["t5 is not a decoder that predicts tokens"]


def test_attention_out_of_reach_of_the_seam_is_refused() -> None:
    model = on_meta(transformers.StableLmConfig(**SIZES | {"hidden_size": 128}))
    assert any("attention interface" in reason for reason in uncovered(model))


def test_head_sizes_that_the_kernel_does_not_have_are_refused() -> None:
    sizes = SIZES | {"head_dim": 24}
    assert any("24 elements" in reason for reason in uncovered(on_meta(transformers.LlamaConfig(**sizes))))


@pytest.mark.parametrize(("max_model_len", "is_covered"), [(64, True), (65, False), (None, False)])
def test_a_rotary_table_that_grows_with_the_batch_is_covered_up_to_where_it_grows(max_model_len, is_covered) -> None:
    model = made("llama")
    model.config.rope_parameters = {
        "rope_type": "dynamic",
        "factor": 2.0,
        "rope_theta": 1e4,
        "original_max_position_embeddings": 64,
    }
    reasons = uncovered(model, max_model_len)
    assert reasons == [] if is_covered else "64 positions" in reasons[0]


def test_quantized_weights_are_refused() -> None:
    model = made("llama", quantization_config={"quant_method": "fp8"})
    assert any("quantized" in reason for reason in uncovered(model))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama", LogitTransform()),
        ("gemma2", LogitTransform(soft_cap=3.0)),
        ("granite", LogitTransform(divisor=2.0)),
        ("cohere", LogitTransform(multiplier=0.5)),
    ],
)
def test_what_a_family_does_to_its_logits_is_read_off_its_config(name, expected) -> None:
    assert logit_transform(FAMILIES[name](**SIZES, vocab_size=128)) == expected


@pytest.fixture(scope="module")
def plan():
    return certify_linear([(128, 64)], torch.float32, row_counts=(1, 2, 7, 96))


def small(name: str):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(FAMILIES[name](**SIZES, vocab_size=128)).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seam_computes_the_function_of_the_family(name: str, plan) -> None:
    seam.install(small(name), plan)  # raises where it does not


@pytest.mark.parametrize(("name", "key"), [("gemma2", "final_logit_softcapping"), ("granite", "logits_scaling")])
def test_a_transform_that_is_overlooked_is_noticed(name: str, key: str, plan, monkeypatch) -> None:
    monkeypatch.setattr(seam, "logit_transform", lambda config: LogitTransform())
    with pytest.raises(ValueError, match="differs from the model's own"):
        seam.install(small(name), plan)
