"""What runs inside vLLM: a worker whose linear layers, sampler and weights are ZeroKL's.

vLLM is given this class by name (`worker_cls`), which fails loudly when it cannot be loaded, unlike a plugin. It is
one of the two modules that import vLLM.
"""

import copy
import dataclasses
import functools
from typing import Any

import torch
import vllm.model_executor.layers.utils as vllm_layers
import vllm.model_executor.models.transformers.base as vllm_transformers
from torch import nn
from vllm import envs
from vllm.model_executor.models.transformers.fusers import GLUFuser, RMSNormFuser
from vllm.v1.attention.backends.cpu_attn import CPUAttentionMetadataBuilder
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.worker.cpu_worker import CPUWorker

from kernels.attention import attention_isa, query_tile, tile_queries
from kernels.contract import Contract, build_contract
from kernels.coverage import logit_transform
from kernels.digest import weights_digest
from kernels.linear import LinearPlan, PackedWeight
from kernels.logprobs import LogitTransform
from kernels.recurrent.depth import recurrence_of
from rollout.extra_args import SCORING, temperatures_and_draws
from rollout.row_depths import RowDepths
from rollout.sampler import sample_tokens, score_tokens
from rollout.weight_map import WeightMap

SCORE_ID, CONFIDENCE_ID = -1, -2
"""Under these, which are no token's, a scored request finds its two values beside the drawn token's log-probability."""
PROBE_ROWS = 64
"""Random rows on which a fused layer is held against the model's own."""


class PolicyWorker(CPUWorker):
    """vLLM's CPU worker with the sampler of the contract, and weights that the trainer replaces in place."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        super().load_model(*args, **kwargs)
        transform = logit_transform(self.vllm_config.model_config.hf_text_config)
        self.model_runner.sampler = CanonicalSampler(self.model_runner, transform)
        if self.recurrence() is not None:
            self.model_runner._model_forward = RowDepths(self.model_runner, self.model_runner.model.model)

    def load_policy(self, weights: dict[str, torch.Tensor]) -> str:
        """Takes the trainer's weights and returns the digest of what the engine then holds."""
        held = WeightMap(self.model_runner.model, weights).tensors
        for name, tensor in weights.items():
            held[name].copy_(tensor)
        for _, layer in _linear_layers(self.model_runner.model):
            vllm_layers.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
        return weights_digest(held)

    def recurrence(self) -> int | None:
        """How often the model runs its core, by the config that its forward pass looks at; None without a core."""
        config = getattr(getattr(self.model_runner.model, "model", None), "config", None)
        return recurrence_of(config) if config is not None else None

    def held_digest(self, weights: dict[str, torch.Tensor]) -> str:
        """The digest of what the engine holds now under the names (and shapes) of `weights`."""
        return weights_digest(WeightMap(self.model_runner.model, weights).tensors)


class CanonicalWorker(PolicyWorker):
    """The worker under the contract. `plan` is set by the engine before vLLM makes the worker."""

    plan: LinearPlan

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        _use_canonical_linear(self.plan)
        _use_query_tiles()
        _fuse_only_what_keeps_bits()
        super().load_model(*args, **kwargs)

    def contract(self) -> Contract:
        """What this engine really runs; raises RuntimeError when a linear layer escaped the canonical op."""
        model, config = self.model_runner.model, self.vllm_config.model_config
        plans = {_installed_plan(name, layer) for name, layer in _linear_layers(model)}
        if len(plans) != 1 or not isinstance(self.model_runner.sampler, CanonicalSampler):
            raise RuntimeError(f"the engine does not run the canonical ops throughout: {plans}")
        return build_contract(
            linear=plans.pop(),
            logits=self.model_runner.sampler.transform,
            tiles_queries=isinstance(CPUAttentionMetadataBuilder.build, _TiledBuild),
            attention_isa=attention_isa(config.dtype, config.get_head_size()),
            block_size=self.vllm_config.cache_config.block_size,
            splits_kv=bool(envs.VLLM_CPU_ATTN_SPLIT_KV),
            recurrence=self.recurrence(),
            dtype=config.dtype,
        )


class StockWorker(PolicyWorker):
    """vLLM's own layers and products, for a run that shows what the contract is worth. It knows of no contract."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        _keep_plain_weights()
        super().load_model(*args, **kwargs)


class CanonicalSampler(nn.Module):
    """Stands in for `vllm.v1.sample.sampler.Sampler` in a model runner.

    vLLM's own draws come from a generator whose state depends on the batch, and its per-request generator crashes on
    CPU when a chunked prefill is discarded. Replace when vLLM takes a counter-based key per request.
    """

    logprobs_mode = "processed_logprobs"

    def __init__(self, runner: Any, transform: LogitTransform):
        super().__init__()
        self._runner = [runner]  # in a list, so that nn.Module does not adopt the model runner's model
        self.transform = transform
        processor: Any = runner.model.logits_processor  # hands on the bare logits: it does not know every transform
        processor.scale, processor.soft_cap = 1.0, None

    def forward(self, logits: torch.Tensor, sampling_metadata: Any, **_: Any) -> SamplerOutput:
        """Rows of `logits` are the requests of the runner's input batch, in its order."""
        requests = [self._runner[0].requests[name] for name in self._runner[0].input_batch.req_ids[: len(logits)]]
        if len(requests) < len(logits):  # a dummy run at start-up: rows without requests
            return SamplerOutput(logits.argmax(-1, keepdim=True).to(torch.int32), None)
        temperatures, draws = temperatures_and_draws(requests)
        logits = self.transform(logits)
        tokens, logprobs = sample_tokens(logits, temperatures, draws)
        ids, values = _with_scores(requests, logits, tokens, logprobs)
        ranks = torch.zeros(len(requests), dtype=torch.int64)  # nobody asks for ranks, and they cost a pass over V
        return SamplerOutput(tokens[:, None].to(torch.int32), LogprobsTensors(ids, values, ranks))


def _with_scores(
    requests: list[Any], logits: torch.Tensor, tokens: torch.Tensor, logprobs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and values of what is reported at every row: the token's log-probability, and what was asked beside it.

    Returns ((n, c) int32, (n, c) fp32), c being 1 where no request is to be scored, else 3. vLLM keeps the first
    1 + `SamplingParams.logprobs` of a row, so that a request which did not ask never sees the others.
    """
    asked = [row for row, request in enumerate(requests) if SCORING in request.sampling_params.extra_args]
    ids, values = tokens[:, None].to(torch.int32), logprobs[:, None]
    if not asked:
        return ids, values
    rows = torch.tensor(asked)
    temperatures, num_top = zip(*(requests[row].sampling_params.extra_args[SCORING] for row in asked), strict=True)
    scored = score_tokens(logits[rows], tokens[rows], torch.tensor(temperatures).float(), torch.tensor(num_top))
    scores = torch.zeros(len(requests), 2)
    scores[rows] = torch.stack(scored, dim=1)
    named = torch.tensor([[SCORE_ID, CONFIDENCE_ID]], dtype=torch.int32).expand(len(requests), 2)
    return torch.cat([ids, named], dim=1), torch.cat([values, scores], dim=1)


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


def _keep_plain_weights() -> None:
    """Has `vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm` keep the plain weight beside the packed one.

    It is what is replaced, and hashed, when the trainer sends weights.
    """
    dispatch = vllm_layers.dispatch_cpu_unquantized_gemm
    vllm_layers.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: dispatch(layer, remove_weight=False)


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


def _fuse_only_what_keeps_bits() -> None:
    """Has `validate` of vLLM's norm and GLU fusers (vLLM 0.32) refuse a fused layer with other bits than the model's.

    vLLM's Transformers backend recognises a norm or a gated activation by its data flow and puts its own in its place;
    in bf16 families differ in where they round. Remove when vLLM has a switch for it.
    """
    vllm_transformers.replace_layernorm_class = lambda layer: layer
    RMSNormFuser.validate = _norm_keeps_bits
    if not isinstance(GLUFuser.validate, _GatedCheck):
        GLUFuser.validate = _GatedCheck(GLUFuser.validate)


def _norm_keeps_bits(fuser: RMSNormFuser, norm: nn.Module, vllm_config: Any) -> bool:
    weight = getattr(norm, "weight", None)
    if weight is None:
        return False
    dtype, generator = vllm_config.model_config.dtype, torch.Generator().manual_seed(0)
    with torch.device("cpu"):
        own: Any = copy.deepcopy(norm).to_empty(device="cpu").to(dtype)
        own.weight.data.copy_(torch.randn(weight.shape, generator=generator))
        fused = fuser.fuse(own, "", vllm_config)
        fused.weight.data.copy_(own.weight)
        rows = (3 * torch.randn(PROBE_ROWS, *weight.shape, generator=generator)).to(dtype)
        with torch.no_grad():
            return torch.equal(own(rows), fused(rows))


class _GatedCheck:
    """A GLU fuser's `validate` that also compares the bits of the fused activation with the model's own."""

    def __init__(self, validate: Any):
        self._validate = validate

    def __get__(self, fuser: Any, owner: type) -> Any:
        return self if fuser is None else functools.partial(self._keeps_bits, fuser)

    def _keeps_bits(self, fuser: Any, module: nn.Module, vllm_config: Any) -> bool:
        if not self._validate(fuser, module, vllm_config):
            return False
        own: Any = module.get_submodule(fuser.act_name)
        fused = fuser._get_act_and_mul(own)
        gate_proj: Any = module.get_submodule(fuser.gate_name)
        width = gate_proj.out_features
        with torch.device("cpu"), torch.no_grad():
            rows = 3 * torch.randn(PROBE_ROWS, 2 * width, generator=torch.Generator().manual_seed(0))
            rows = rows.to(vllm_config.model_config.dtype)
            gate, up = rows.chunk(2, -1)
            return torch.equal(own(gate.contiguous()) * up.contiguous(), fused(rows))


def _linear_layers(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "cpu_linear")]


def _installed_plan(name: str, layer: Any) -> LinearPlan:
    if not isinstance(layer.cpu_linear, _CanonicalProduct):
        raise RuntimeError(f"{name} does not multiply by the canonical linear but by {layer.cpu_linear}")
    return layer.cpu_linear.packed.plan
