import dataclasses

import pytest

from rl.config import AlgorithmConfig, Config, EvaluationConfig, ModelConfig, TrainerConfig
from rl.data import DataConfig
from rl.memory import GIB, MemoryEstimate, Part, ProcessMemory, estimate_memory, model_sizes, pass_rows, render_memory
from rl.tiny_model import tiny_model, tiny_tokenizer
from rollout.config import RolloutConfig

PARAMETERS = 106_816
"""Embeddings 128 x 64, twice (q 64 x 128, k and v 64 x 64, o 128 x 64, three of 64 x 128, two norms), a norm."""
LINEAR = 106_496
"""Those without the norms; the output projection is the embeddings."""
LARGEST = 8192


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", tiny_tokenizer(), seed=0).config


def make_config(dtype="float32", algorithm=None, **trainer):
    return Config(
        model=ModelConfig("tiny:llama"),
        data=DataConfig(num_prompts=8),
        rollout=RolloutConfig(group_size=4, max_new_tokens=16, max_model_len=64, kv_cache_gib=0.5, num_actors=2),
        evaluation=EvaluationConfig(num_prompts=10, max_new_tokens=16),
        algorithm=algorithm or AlgorithmConfig(),
        trainer=TrainerConfig(**{"dtype": dtype, "num_shards": 4} | trainer),
    )


def parts(estimate, index):
    return {part.name: part.num_bytes for part in estimate.processes[index].parts}


def test_sizes_are_those_of_the_model(tiny):
    sizes = model_sizes(tiny, "float32")
    assert (sizes.num_parameters, sizes.num_packed, sizes.largest_packed) == (PARAMETERS, LINEAR, LARGEST)
    assert (sizes.widest, sizes.head, sizes.vocabulary, sizes.hidden, sizes.num_layers, sizes.num_heads) == (
        192, 8192, 128, 64, 2, 4,
    )  # fmt: skip


def test_a_rank_holds_weights_sums_and_state_by_the_formula(tiny):
    found = parts(estimate_memory(make_config(), tiny), 0)
    assert found["weights"] == 4 * PARAMETERS
    assert found["packed weights"] == 4 * (LINEAR + LARGEST)
    assert found["master weights and moments"] == 12 * PARAMETERS
    # of a pass, of the shard, and two levels of the tree over four shards
    assert found["gradients"] == 16 * PARAMETERS
    assert found["checkpoint"] == 20 * PARAMETERS
    assert found["logits"] == 4 * (3 * 256 * 128 + 2 * 8192)
    assert "reference model" not in found


def test_bf16_halves_weights_and_forms_the_gradients_of_a_pass_once_more(tiny):
    found = parts(estimate_memory(make_config("bfloat16"), tiny), 0)
    assert found["weights"] == 2 * PARAMETERS
    assert found["master weights and moments"] == 12 * PARAMETERS
    assert found["gradients"] == (2 + 4 + 12) * PARAMETERS


def test_ranks_share_the_state_and_receive_a_slice_of_every_subtotal(tiny):
    estimate = estimate_memory(make_config(world_size=2), tiny)
    found = parts(estimate, 0)
    assert estimate.processes[0].count == 2
    assert found["master weights and moments"] == 6 * PARAMETERS
    assert found["gradients"] == (4 + 8 + 4) * PARAMETERS
    assert "weights at rest" not in found


def test_stage_3_keeps_a_share_of_the_weights_besides_those_of_a_pass(tiny):
    found = parts(estimate_memory(make_config("bfloat16", world_size=2, zero_stage=3), tiny), 0)
    assert found["weights"] == 2 * PARAMETERS
    assert found["weights at rest"] == PARAMETERS


def test_a_reference_model_is_counted_where_the_algorithm_asks_for_one(tiny):
    with_kl = AlgorithmConfig("grpo", {"kl_coef": 0.1})
    found = parts(estimate_memory(make_config(algorithm=with_kl), tiny), 0)
    assert found["reference model"] == found["weights"] + found["packed weights"]


@pytest.mark.parametrize(
    ("micro_batch_tokens", "rows"),
    [
        # two groups a shard: a prompt of 48 tokens, and four completions without their last token
        (4096, 2 * (48 + 4 * 15)),
        (100, 100),
        # one rollout does not get shorter
        (10, 63),
    ],
)
def test_rows_of_a_pass(micro_batch_tokens, rows, tiny):
    config = make_config(micro_batch_tokens=micro_batch_tokens)
    assert pass_rows(config) == rows
    kept = model_sizes(tiny, "float32").kept_bytes
    assert parts(estimate_memory(config, tiny), 0)["activations"] == rows * kept
    assert parts(estimate_memory(config, tiny), 0)["attention scores"] == 6 * 4 * 4 * rows * 64


def test_gradient_checkpointing_keeps_the_inputs_of_layers_and_one_layer(tiny):
    kept = model_sizes(tiny, "float32").kept_bytes
    found = parts(estimate_memory(make_config(gradient_checkpointing=True), tiny), 0)
    assert found["activations"] == 216 * (2 * 64 * 4 + -(-kept // 2))


def test_an_engine_holds_weights_cache_and_logits(tiny):
    estimate = estimate_memory(make_config(), tiny)
    found = parts(estimate, 1)
    assert estimate.processes[1].count == 2
    assert found["weights"] + found["packed weights"] == 4 * (PARAMETERS + LINEAR + LARGEST)
    assert found["KV cache"] == GIB // 2
    assert found["activations"] == 2048 * 4 * 192 * 4
    assert found["logits"] == 16 * 128 * 16  # half of the 32 rollouts: logits and three copies in fp32
    assert parts(estimate, 2)["weights in the object store"] == 4 * PARAMETERS


def test_fewer_sequences_at_once_take_fewer_logits(tiny):
    config = make_config()
    config.rollout = dataclasses.replace(config.rollout, max_num_seqs=3)
    assert parts(estimate_memory(config, tiny), 1)["logits"] == 3 * 128 * 16


ESTIMATE = MemoryEstimate(
    (
        ProcessMemory("trainer rank", 2, (Part("weights", 3 * GIB), Part("activations", GIB, "trainer.x"))),
        ProcessMemory("engine", 1, (Part("KV cache", 2 * GIB, "rollout.kv_cache_gib"),)),
    )
)


def test_the_total_counts_every_process():
    assert ESTIMATE.total_bytes == 10 * GIB


def test_the_part_to_lower_is_the_largest_that_a_key_decides_over():
    assert ESTIMATE.largest_adjustable.name == "KV cache"


def test_an_estimate_reads_so():
    assert render_memory(ESTIMATE).splitlines() == [
        "memory  at most 10.0 GiB",
        "  2 x trainer rank  4.0 GiB: weights 3.0 GiB, activations 1.0 GiB",
        "  1 x engine  2.0 GiB: KV cache 2.0 GiB",
    ]
