"""What runs inside vLLM: a worker whose linear layers, sampler and weights are ZeroKL's.

vLLM is given this class by name (`worker_cls`), which fails loudly when it cannot be loaded, unlike a plugin. It is
one of the two modules that import vLLM.
"""

import dataclasses
import functools
from typing import Any

import torch
import vllm.model_executor.layers.utils as vllm_layers
from torch import nn
from vllm import envs
from vllm.v1.attention.backends.cpu_attn import CPUAttentionMetadataBuilder
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.worker.cpu_worker import CPUWorker

from kernels.attention import attention_isa, query_tile, tile_queries
from kernels.contract import Contract, build_contract
from kernels.digest import weights_digest
from kernels.linear import LinearPlan, PackedWeight
from rollout.draws import uniforms
from rollout.sampler import sample_tokens
from rollout.weight_map import WeightMap

DRAW_KEY = "zerokl_draw_key"
"""The entry of `SamplingParams.extra_args` that carries `DrawKey.counter_words`."""


class CanonicalWorker(CPUWorker):
    """vLLM's CPU worker under the contract. `plan` is set by the engine before vLLM makes the worker."""

    plan: LinearPlan

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        _use_canonical_linear(self.plan)
        _use_query_tiles()
        super().load_model(*args, **kwargs)
        self.model_runner.sampler = CanonicalSampler(self.model_runner)

    def contract(self) -> Contract:
        """What this engine really runs; raises RuntimeError when a linear layer escaped the canonical op."""
        model, config = self.model_runner.model, self.vllm_config.model_config
        plans = {_installed_plan(name, layer) for name, layer in _linear_layers(model)}
        if len(plans) != 1 or not isinstance(self.model_runner.sampler, CanonicalSampler):
            raise RuntimeError(f"the engine does not run the canonical ops throughout: {plans}")
        return build_contract(
            linear=plans.pop(),
            tiles_queries=isinstance(CPUAttentionMetadataBuilder.build, _TiledBuild),
            attention_isa=attention_isa(config.dtype, config.get_head_size()),
            block_size=self.vllm_config.cache_config.block_size,
            splits_kv=bool(envs.VLLM_CPU_ATTN_SPLIT_KV),
            dtype=config.dtype,
        )

    def load_policy(self, weights: dict[str, torch.Tensor]) -> str:
        """Takes the trainer's weights and returns the digest of what the engine then holds."""
        held = WeightMap(self.model_runner.model, weights).tensors
        for name, tensor in weights.items():
            held[name].copy_(tensor)
        for _, layer in _linear_layers(self.model_runner.model):
            layer.cpu_linear = _CanonicalProduct(PackedWeight(layer.weight, self.plan))
        return weights_digest(held)

    def held_digest(self, weights: dict[str, torch.Tensor]) -> str:
        """The digest of what the engine holds now under the names (and shapes) of `weights`."""
        return weights_digest(WeightMap(self.model_runner.model, weights).tensors)


class CanonicalSampler(nn.Module):
    """Stands in for `vllm.v1.sample.sampler.Sampler` in a model runner.

    vLLM's own draws come from a generator whose state depends on the batch, and its per-request generator crashes on
    CPU when a chunked prefill is discarded. Replace when vLLM takes a counter-based key per request.
    """

    logprobs_mode = "processed_logprobs"

    def __init__(self, runner: Any):
        super().__init__()
        self._runner = [runner]  # in a list, so that nn.Module does not adopt the model runner's model

    def forward(self, logits: torch.Tensor, sampling_metadata: Any, **_: Any) -> SamplerOutput:
        """Rows of `logits` are the requests of the runner's input batch, in its order."""
        requests = [self._runner[0].requests[name] for name in self._runner[0].input_batch.req_ids[: len(logits)]]
        if len(requests) < len(logits):  # a dummy run at start-up: rows without requests
            return SamplerOutput(logits.argmax(-1, keepdim=True).to(torch.int32), None)
        temperatures = torch.tensor([r.sampling_params.temperature for r in requests], dtype=torch.float32)
        keys = [r.sampling_params.extra_args[DRAW_KEY] for r in requests]
        draws = torch.from_numpy(uniforms(keys, [len(r.output_token_ids) for r in requests]))
        tokens, logprobs = sample_tokens(logits, temperatures, draws)
        ids = tokens[:, None].to(torch.int32)
        ranks = torch.zeros(len(requests), dtype=torch.int64)  # nobody asks for ranks, and they cost a pass over V
        return SamplerOutput(ids, LogprobsTensors(ids, logprobs[:, None], ranks))


class _CanonicalProduct:
    """In the shape of vLLM's `layer.cpu_linear`."""

    def __init__(self, packed: PackedWeight):
        self.packed = packed

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return self.packed(x, bias)


def _use_canonical_linear(plan: LinearPlan) -> None:
    """Replaces `vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm` (vLLM 0.32).

    vLLM picks a product per layer by machine and shape, unpadded, and frees the plain weight; the canonical product is
    the one that was certified, and the plain weight stays, to be hashed and synchronized. `CanonicalWorker.contract`
    proves that every layer took it. Remove when vLLM's CPU linear is batch-invariant by contract.
    """

    def dispatch(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = _CanonicalProduct(PackedWeight(layer.weight, plan))

    vllm_layers.dispatch_cpu_unquantized_gemm = dispatch


def _use_query_tiles() -> None:
    """Replaces `vllm.v1.attention.backends.cpu_attn.CPUAttentionMetadataBuilder.build` (vLLM 0.32).

    vLLM hands its kernel all queries of a request that a step scheduled; the kernel then walks the keys in tiles whose
    length depends on how many those are, so that beyond some hundred keys a chunked prefill has other bits than a
    decode step. `CanonicalWorker.contract` reads off the builder which of the two runs. Remove when the length of a key
    tile no longer depends on the number of queries.
    """
    if isinstance(CPUAttentionMetadataBuilder.build, _TiledBuild):
        return
    CPUAttentionMetadataBuilder.build = _TiledBuild(CPUAttentionMetadataBuilder.build)


class _TiledBuild:
    """A builder's `build` that cuts queries into tiles first."""

    def __init__(self, build: Any):
        self._build = build

    def __get__(self, builder: Any, owner: type) -> Any:
        return self if builder is None else functools.partial(self._tiled, builder)

    def _tiled(self, builder: Any, common_prefix_len: int, metadata: Any, fast_build: bool = False) -> Any:
        tile = query_tile(builder.num_heads, builder.num_kv_heads)
        starts, num_keys, table = tile_queries(
            metadata.query_start_loc, metadata.seq_lens, metadata.block_table_tensor, tile
        )
        tiled = dataclasses.replace(
            metadata, num_reqs=len(num_keys), query_start_loc=starts, seq_lens=num_keys, block_table_tensor=table
        )
        return self._build(builder, common_prefix_len, tiled, fast_build)


def _linear_layers(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "cpu_linear")]


def _installed_plan(name: str, layer: Any) -> LinearPlan:
    if not isinstance(layer.cpu_linear, _CanonicalProduct):
        raise RuntimeError(f"{name} does not multiply by the canonical linear but by {layer.cpu_linear}")
    return layer.cpu_linear.packed.plan
