"""How much memory a run takes, worked out from its config before anything starts.

Memory that a phase of the step frees is kept by the process (`kernels.process`), in pieces that the next phase seldom
fits into. So what the phases take is added up, and the estimate is of the most that a process comes to hold.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from kernels.attention import MAX_BUNDLE_SCORES
from kernels.logprobs import CHUNK_ROWS
from rl.activations import kept_bytes

if TYPE_CHECKING:
    from rl.config import Config

logger = logging.getLogger(__name__)

MIB, GIB = 2**20, 2**30
TRAINER_BYTES = 512 * MIB
"""A rank before it holds anything: the interpreter, torch, transformers and DeepSpeed. Measured, as are the next."""
ENGINE_BYTES = GIB
DRIVER_BYTES = 704 * MIB
RAY_BYTES = 640 * MIB
"""Ray's own processes."""
REWARD_WORKER_BYTES = 128 * MIB
SCORES_AT_ONCE = 6
"""Tensors of all attention scores of a bundle that its backward pass holds (`kernels.attention`)."""
SCRATCH_TENSORS = 4
"""As many tensors of a widest linear layer's inputs and outputs live at once in an engine's forward pass."""
FP32 = 4
ITEMSIZE = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class ModelSizes:
    """What of a decoder decides how much memory it takes."""

    num_parameters: int
    """Tied weights once."""
    num_packed: int
    """Elements of the linear layers, the output projection among them."""
    largest_packed: int
    """Elements of the largest of them."""
    widest: int
    """Inputs and outputs of the widest of them but the output projection."""
    head: int
    """Elements of the output projection."""
    vocabulary: int
    hidden: int
    num_layers: int
    num_heads: int
    kept_bytes: int
    """Bytes that a row of a forward pass keeps for the backward pass (`rl.activations`)."""


@dataclass(frozen=True)
class Part:
    """One thing that takes memory."""

    name: str
    num_bytes: int
    lowered_by: str = ""
    """The key of the config that makes it smaller; empty where there is none."""


@dataclass(frozen=True)
class ProcessMemory:
    """`count` processes of one kind."""

    name: str
    count: int
    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> int:
        """Of one of them."""
        return sum(part.num_bytes for part in self.parts)


@dataclass(frozen=True)
class MemoryEstimate:
    """The most that a run takes, by process and by purpose. Everything is taken to run on one machine."""

    processes: tuple[ProcessMemory, ...]

    @property
    def total_bytes(self) -> int:
        return sum(process.count * process.num_bytes for process in self.processes)

    @property
    def largest_adjustable(self) -> Part:
        """The largest part that a key of the config makes smaller."""
        parts = (part for process in self.processes for part in process.parts if part.lowered_by)
        return max(parts, key=lambda part: part.num_bytes)


def estimate_memory(config: Config, model_config: Any) -> MemoryEstimate:
    """The most memory that a run of `config` takes, in bytes. It looks at neither the machine nor the weights.

    config: `trainer.dtype` resolved; model_config: the checkpoint's Hugging Face config. With P parameters, L of them
    in linear layers, b bytes an element, w ranks, s shards a rank and R rows in a forward pass:

        trainer rank    P b                        weights
                        (L + largest layer) b      packed weights, one of them twice while it is packed anew
                        12 P / w                   master weights and Adam's two moments, fp32
                        P b + 4 P (1 + log2 s)     gradients of a pass, of the shard, and a subtotal a tree level;
                                                   in bf16 4 P more, a pass's gradients in fp32
                        4 P                        where w > 1, the ranks' subtotals of a slice of the gradient
                        P b / w                    in ZeRO stage 3, the weights as they are at rest
                        R kept bytes               activations, `rl.activations.kept_bytes` a row; under gradient
                                                   checkpointing the inputs of all layers and what one of them keeps
                        P b + (L + largest) b      the reference model, where the algorithm asks for one
                        logits of a chunk, the head's gradient in fp32, attention scores of a bundle
                        20 P                       a checkpoint: 12 P gathered, and one part twice more in passing
        engine          P b, (L + largest layer) b, the KV cache, one step's activations and logits
        object store    P b                        weights on their way

    A checkpoint's files, mapped while they are read, are left out: the kernel takes their memory back when it is short.
    """
    sizes = model_sizes(model_config, config.trainer.dtype)
    itemsize = ITEMSIZE[config.trainer.dtype]
    return MemoryEstimate(
        (
            ProcessMemory("trainer rank", config.trainer.world_size, tuple(_rank_parts(config, sizes, itemsize))),
            ProcessMemory("engine", config.rollout.num_actors, tuple(_engine_parts(config, sizes, itemsize))),
            ProcessMemory("driver, Ray and rewards", 1, tuple(_other_parts(config, sizes, itemsize))),
        )
    )


def render_memory(estimate: MemoryEstimate) -> str:
    """The estimate as plain text, a line a kind of process, without a newline at its end."""
    lines = [f"memory  at most {_gib(estimate.total_bytes)}"]
    for process in estimate.processes:
        parts = ", ".join(f"{part.name} {_gib(part.num_bytes)}" for part in process.parts)
        lines.append(f"  {process.count} x {process.name}  {_gib(process.num_bytes)}: {parts}")
    return "\n".join(lines)


def model_sizes(model_config: Any, dtype: str) -> ModelSizes:
    """The sizes of the decoder that a Hugging Face config describes, counted on a model without weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(model_config)
    text, head = model_config.get_text_config(), model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return ModelSizes(
        num_parameters=model.num_parameters(),
        num_packed=sum(module.weight.numel() for module in linear),
        largest_packed=max(module.weight.numel() for module in linear),
        widest=max(module.in_features + module.out_features for module in linear if module is not head),
        head=head.weight.numel(),
        vocabulary=head.out_features,
        hidden=text.hidden_size,
        num_layers=text.num_hidden_layers,
        num_heads=text.num_attention_heads,
        kept_bytes=kept_bytes(model_config, getattr(torch, dtype)),
    )


def pass_rows(config: Config) -> int:
    """The most rows that one forward pass of a rank can have: a shard's groups, cut at `trainer.micro_batch_tokens`.

    A rollout that is longer than that is a pass of its own.
    """
    rollout = config.rollout
    prompt = rollout.max_model_len - rollout.max_new_tokens
    group = prompt + rollout.group_size * (rollout.max_new_tokens - 1)
    shard = -(-config.data.num_prompts // config.trainer.num_shards) * group
    return max(min(config.trainer.micro_batch_tokens, shard), rollout.max_model_len - 1)


def _rank_parts(config: Config, sizes: ModelSizes, itemsize: int) -> Iterator[Part]:
    from rl.algorithms import make_algorithm

    trainer, num_parameters = config.trainer, sizes.num_parameters
    num_sums = (trainer.num_shards // trainer.world_size).bit_length() + (itemsize < FP32)
    received = FP32 * num_parameters if trainer.world_size > 1 else 0
    yield Part("process", TRAINER_BYTES)
    yield from _weight_parts(sizes, itemsize)
    if trainer.zero_stage == 3:
        yield Part("weights at rest", itemsize * num_parameters // trainer.world_size)
    yield Part("master weights and moments", 3 * FP32 * num_parameters // trainer.world_size)
    yield Part("gradients", (itemsize + FP32 * num_sums) * num_parameters + received)
    row = _checkpointed_bytes(sizes, itemsize) if trainer.gradient_checkpointing else sizes.kept_bytes
    yield Part("activations", pass_rows(config) * row, "trainer.micro_batch_tokens")
    yield Part("logits", _logits_bytes(sizes))
    yield Part("attention scores", _scores_bytes(config, sizes))
    yield Part("checkpoint", 5 * FP32 * num_parameters)
    if make_algorithm(config.algorithm.name, config.algorithm.params).needs_reference:
        yield Part("reference model", sum(part.num_bytes for part in _weight_parts(sizes, itemsize)))


def _engine_parts(config: Config, sizes: ModelSizes, itemsize: int) -> Iterator[Part]:
    rollout = config.rollout
    num_requests = max(config.data.num_prompts * rollout.group_size, config.evaluation.num_prompts)
    num_decoded = min(rollout.max_num_seqs, -(-num_requests // rollout.num_actors))
    yield Part("process", ENGINE_BYTES)
    yield from _weight_parts(sizes, itemsize)
    yield Part("KV cache", int(rollout.kv_cache_gib * GIB), "rollout.kv_cache_gib")
    wide = SCRATCH_TENSORS * sizes.widest * itemsize
    yield Part("activations", rollout.max_num_batched_tokens * wide, "rollout.max_num_batched_tokens")
    # The logits, their log-softmax, its exponential, and that padded to whole segments (`rollout.sampler`).
    yield Part("logits", num_decoded * sizes.vocabulary * (itemsize + 3 * FP32), "rollout.max_num_seqs")


def _other_parts(config: Config, sizes: ModelSizes, itemsize: int) -> Iterator[Part]:
    yield Part("driver", DRIVER_BYTES)
    yield Part("Ray", RAY_BYTES)
    yield Part("weights in the object store", sizes.num_parameters * itemsize)
    yield Part("reward workers", config.reward.num_workers * REWARD_WORKER_BYTES, "reward.num_workers")


def _weight_parts(sizes: ModelSizes, itemsize: int) -> Iterator[Part]:
    yield Part("weights", sizes.num_parameters * itemsize)
    yield Part("packed weights", (sizes.num_packed + sizes.largest_packed) * itemsize)


def _checkpointed_bytes(sizes: ModelSizes, itemsize: int) -> int:
    """Bytes that a row keeps under gradient checkpointing: every layer's input, and all of the layer worked at."""
    return sizes.num_layers * sizes.hidden * itemsize + -(-sizes.kept_bytes // sizes.num_layers)


def _logits_bytes(sizes: ModelSizes) -> int:
    """A chunk's logits, log-softmax and probabilities, and the head's gradient with the chunk's share of it."""
    return FP32 * (3 * CHUNK_ROWS * sizes.vocabulary + 2 * sizes.head)


def _scores_bytes(config: Config, sizes: ModelSizes) -> int:
    longest = config.rollout.max_model_len
    num_scores = max(min(MAX_BUNDLE_SCORES, pass_rows(config) * longest), min(pass_rows(config), longest) * longest)
    return SCORES_AT_ONCE * FP32 * sizes.num_heads * num_scores


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"


def say_memory(config: Config, model_config: Any) -> None:
    """Prints how much memory the run will take, before it takes any, and warns where there is less."""
    estimate = estimate_memory(config, model_config)
    print(render_memory(estimate), file=sys.stderr)
    available = psutil.virtual_memory().available
    if estimate.total_bytes > available:
        part = estimate.largest_adjustable
        logger.warning(
            "the run may take %.1f GiB and %.1f GiB are free; lower %s, which decides over %s",
            estimate.total_bytes / GIB,
            available / GIB,
            part.lowered_by,
            part.name,
        )
