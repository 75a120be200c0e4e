"""Whatever breaks the guarantee is caught, by name, before the policy is updated."""

import dataclasses
import struct

import pytest
import ray

from kernels.contract import Contract
from rl.errors import BrokenGuarantee
from rl.types import ScoredGroup, Shard
from rollout.engine import VLLMEngine
from rollout.pool import ContractMismatch, PolicyMismatch, require_contract

from ..conftest import Stack, batch_of, squeezed

DTYPES = ["float32", pytest.param("bfloat16", marks=pytest.mark.thorough)]
pytestmark = [pytest.mark.engine, pytest.mark.parametrize("stack", DTYPES, indirect=True)]


def cause(error: BaseException) -> BaseException:
    return getattr(error, "cause", None) or error


def flip_weight_bit(engine: VLLMEngine) -> None:
    """The lowest exponent bit of the largest weight of one layer of the engine, plain and packed."""
    engine._llm.apply_model(_flip_in_model)


def _flip_in_model(model) -> None:
    import torch

    from kernels.linear import PackedWeight

    layer = next(m for name, m in model.named_modules() if name.endswith("down_proj"))
    is_fp32 = layer.weight.dtype == torch.float32
    bits = layer.weight.data.view(torch.int32 if is_fp32 else torch.int16).flatten()
    bits[layer.weight.data.abs().argmax()] ^= 1 << (23 if is_fp32 else 7)
    layer.cpu_linear.packed = PackedWeight(layer.weight, layer.cpu_linear.packed.plan)


def with_rollout(batch, group_index: int, sample: int, **changes):
    """The batch with one rollout changed."""
    scored = batch.shards[group_index].groups[0]
    rollouts = list(scored.group.rollouts)
    rollouts[sample] = dataclasses.replace(rollouts[sample], **changes)
    group = dataclasses.replace(scored.group, rollouts=tuple(rollouts))
    shard = Shard((ScoredGroup(group, scored.rewards, scored.advantages),))
    shards = (*batch.shards[:group_index], shard, *batch.shards[group_index + 1 :])
    return dataclasses.replace(batch, shards=shards)


def refused(stack: Stack, batch) -> str:
    """The message with which the trainer refuses a batch; its policy is untouched."""
    before = stack.trainer.policy()
    with pytest.raises(Exception) as caught:
        stack.trainer.step(batch, 1e-2)
    assert isinstance(cause(caught.value), BrokenGuarantee)
    assert stack.trainer.policy() == before
    return str(cause(caught.value))


def test_one_weight_bit_on_one_engine(stack: Stack) -> None:
    stack.pool.call(1, flip_weight_bit)
    message = refused(stack, batch_of(stack.sample()))
    assert "prompt train/0/1" in message or "prompt train/0/3" in message  # actor 1 has every second prompt
    stack.publish()
    assert stack.trainer.step(batch_of(stack.sample()), 0.0).num_mismatched == 0
    stack.publish()


def test_weights_that_did_not_arrive(stack: Stack) -> None:
    wrong = dataclasses.replace(stack.trainer.policy(), digest="0" * 64)
    with pytest.raises(PolicyMismatch, match="rollout actor 0"):
        stack.pool.load_policy(wrong, stack.trainer.put_weights)
    stack.publish()


@pytest.mark.parametrize("group_index", [1, 3])
def test_one_logprob_bit(stack: Stack, group_index: int) -> None:
    batch = batch_of(stack.sample())
    logprobs = list(batch.shards[group_index].groups[0].group.rollouts[2].rollout_logprobs)
    last = len(logprobs) - 1
    true_value = logprobs[last]
    bits = struct.unpack("<I", struct.pack("<f", true_value))[0]
    logprobs[last] = struct.unpack("<f", struct.pack("<I", bits ^ 1))[0]
    message = refused(stack, with_rollout(batch, group_index, 2, rollout_logprobs=tuple(logprobs)))
    assert f"step 1, prompt train/0/{group_index}, sample 2, position {last}" in message
    assert f"rollout {logprobs[last]!r} (0x{bits ^ 1:08x}), trainer {true_value!r} (0x{bits:08x})" in message


def test_a_stale_version(stack: Stack) -> None:
    old = stack.sample()
    stack.trainer.step(batch_of(old, step=stack.trainer.policy().step + 1), 1e-2)
    assert "stale policy" in refused(stack, batch_of(old))
    assert "stale policy" in refused(stack, batch_of(stack.sample()))  # nobody published
    stack.publish()


def test_another_temperature_on_one_side(stack: Stack) -> None:
    batch = dataclasses.replace(batch_of(stack.sample()), temperature=0.99)
    assert "temperature" in refused(stack, batch)


def test_an_engine_that_splits_keys_by_load(stack: Stack) -> None:
    other = stack.other_pool(squeezed(1), VLLM_CPU_ATTN_SPLIT_KV="1")
    try:
        theirs = other.call(0, lambda engine: engine.contract())
        with pytest.raises(ContractMismatch, match="attention_splits_kv: False != True"):
            require_contract(stack.trainer.contract(), [theirs])
    finally:
        other.close()


def test_an_engine_without_the_canonical_worker(stack: Stack) -> None:
    theirs = ray.get(
        ray.remote(num_cpus=0)(stock_contract).remote(str(stack.model_dir), stack.dtype, stack.trainer.certify())
    )
    assert theirs is None
    with pytest.raises(ContractMismatch, match="did not say"):
        require_contract(stack.trainer.contract(), [theirs])


def stock_contract(model_dir: str, dtype: str, plan) -> Contract | None:
    class StockEngine(VLLMEngine):
        worker_cls = "auto"

    return StockEngine(model_dir, dtype, plan, squeezed(1)).contract()


def test_trainer_and_engines_agree_on_the_contract(stack: Stack) -> None:
    theirs = [stack.pool.call(i, lambda engine: engine.contract()) for i in range(2)]
    require_contract(stack.trainer.contract(), theirs)
