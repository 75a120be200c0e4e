"""One vLLM engine under the contract, in the process that makes it. It is one of the two modules that import vLLM."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from kernels.attention import BLOCK_SIZE
from kernels.contract import Contract
from kernels.linear import LinearPlan
from kernels.recurrent.registration import register
from rollout.config import RolloutConfig
from rollout.draws import DrawKey
from rollout.extension import Continuation, Extension, Scoring
from rollout.extra_args import extra_args
from rollout.row_depths import RECURRENCE
from rollout.types import PolicyVersion, Prompt, Rollout, SamplingParams

ENVIRONMENT = {
    "VLLM_CPU_ATTN_SPLIT_KV": "0",  # splitting a sequence's keys by load makes bits depend on the batch
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in its Ray actor's own process
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the canonical sampler stands in for the first runner's
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Read by vLLM when it is imported, so it has to be in place before."""


@dataclass(frozen=True)
class SampleRequest:
    """One rollout to be sampled."""

    prompt: Prompt
    sample: int
    seed: int


class Engine(Protocol):
    """What a pool needs of a sampling engine."""

    def contract(self) -> Contract | None: ...

    def load_policy(self, step: int, weights: dict[str, torch.Tensor]) -> PolicyVersion: ...

    def generate(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Rollout]: ...


class VLLMEngine:
    """vLLM with the canonical worker. The version of its policy is unknown until `load_policy` is called.

    model_dir: a Hugging Face checkpoint; plan: the certified linear; dtype: what the trainer computes in. With
    `config.exact` off, vLLM's own model and products take the place of the canonical ones; the sampler stays.
    """

    worker_cls = "rollout.vllm_worker.CanonicalWorker"
    stock_worker_cls = "rollout.vllm_worker.StockWorker"

    def __init__(self, model_dir: str, dtype: str, plan: LinearPlan, config: RolloutConfig):
        os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
        from vllm import LLM

        from rollout.vllm_worker import CanonicalWorker

        register()
        CanonicalWorker.plan = plan
        self._llm = LLM(
            model_dir,
            model_impl="transformers" if config.exact else "auto",
            hf_overrides=_overrides(model_dir),
            dtype=dtype,
            worker_cls=self.worker_cls if config.exact else self.stock_worker_cls,
            enforce_eager=True,
            block_size=BLOCK_SIZE if config.exact else None,
            max_model_len=config.max_model_len,
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            enable_prefix_caching=config.prefix_caching,
            enable_chunked_prefill=True,
            kv_cache_memory_bytes=int(config.kv_cache_gib * 2**30),
            disable_log_stats=True,
        )
        self._policy: PolicyVersion | None = None

    def contract(self) -> Contract | None:
        """What this engine runs, read off the engine itself; None from a worker that knows of no contract."""
        try:
            return self._llm.collective_rpc("contract")[0]
        except (AttributeError, NotImplementedError):
            return None

    def load_policy(self, step: int, weights: dict[str, torch.Tensor]) -> PolicyVersion:
        """The version held after taking `weights` (trainer names to tensors); cached prefixes are dropped."""
        digest = self._llm.collective_rpc("load_policy", args=(weights,))[0]
        self.reset_prefix_cache()
        self._policy = PolicyVersion(step, digest)
        return self._policy

    def reset_prefix_cache(self) -> None:
        """Nothing; forgets every cached prefix. Raises RuntimeError when vLLM could not."""
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM kept its prefix cache: a request was still running")

    def held_digest(self, weights: dict[str, torch.Tensor]) -> str:
        """Digest of the weights in the engine at this moment."""
        return self._llm.collective_rpc("held_digest", args=(weights,))[0]

    def generate(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Rollout]:
        """One rollout per request, in the order of the requests."""
        if not requests:
            return []  # more actors than prompts; transformers decodes no sequences to one empty text
        keys = [DrawKey(request.seed, request.prompt.id, request.sample) for request in requests]
        depths = self._depths([request.prompt for request in requests])
        outputs = self._generate(
            [request.prompt.token_ids for request in requests], [_vllm_params(key, params) for key in keys], depths
        )
        tokenizer = self._llm.get_tokenizer()
        texts = tokenizer.batch_decode([o.outputs[0].token_ids for o in outputs], skip_special_tokens=True)
        return [_rollout(*parts) for parts in zip(requests, outputs, texts, depths, strict=True)]

    def extend(self, requests: Sequence[Extension]) -> list[Continuation]:
        """One continuation per request, in the order of the requests."""
        if not requests:
            return []
        outputs = self._generate(
            [request.prompt.token_ids + request.prefix for request in requests],
            [_vllm_params(r.key, r.sampling, len(r.prefix), r.scoring) for r in requests],
            self._depths([request.prompt for request in requests]),
        )
        return [_continuation(*parts) for parts in zip(requests, outputs, strict=True)]

    def _depths(self, prompts: Sequence[Prompt]) -> list[int | None]:
        """How often the core is run for each prompt; None where the model has none.

        Raises ValueError for a depth that the engine's cache has no place for.
        """
        most: int | None = self._llm.collective_rpc("recurrence")[0]
        for prompt in prompts:
            if prompt.recurrence is not None and not 1 <= prompt.recurrence <= (most or 0):
                raise ValueError(
                    f"prompt {prompt.id} asks for recurrence {prompt.recurrence}, and the engine goes from 1 to {most}"
                )
        return [most if prompt.recurrence is None else prompt.recurrence for prompt in prompts]

    def _generate(self, token_ids: Sequence[Sequence[int]], params: Sequence[Any], depths: Sequence[int | None]) -> Any:
        if self._policy is None:
            raise RuntimeError("the engine has no policy yet; publish the trainer's weights first")
        prompts: list[dict[str, Any]] = [{"prompt_token_ids": list(ids)} for ids in token_ids]
        for prompt, own, depth in zip(prompts, params, depths, strict=True):
            if depth is not None:
                own.extra_args[RECURRENCE] = depth
                prompt["cache_salt"] = f"recurrence {depth}"  # what is cached of a prefix is of one depth
        return self._llm.generate(prompts, params, use_tqdm=False)


def _overrides(model_dir: str) -> dict[str, Any]:
    """Values of a checkpoint's config that vLLM is to see in place of its own.

    vLLM looks for an architecture inside transformers only, so one that was registered there is asked for under the
    name of the backend that would run it anyway.
    """
    import transformers

    architecture, *_ = transformers.AutoConfig.from_pretrained(model_dir).architectures or [""]
    return {} if hasattr(transformers, architecture) else {"architectures": ["TransformersForCausalLM"]}


def _vllm_params(key: DrawKey, params: SamplingParams, first_position: int = 0, scoring: Scoring | None = None) -> Any:
    from vllm import SamplingParams as VLLMSamplingParams

    return VLLMSamplingParams(
        max_tokens=params.max_new_tokens,
        stop_token_ids=list(params.stop_token_ids),
        ignore_eos=True,  # the stop tokens are ours, so that they are the same for every checkpoint format
        logprobs=2 if scoring else 0,
        detokenize=False,
        extra_args=extra_args(key, params, first_position, scoring),
    )


def _rollout(request: SampleRequest, output: Any, text: str, recurrence: int | None) -> Rollout:
    completion = output.outputs[0]
    return Rollout(
        prompt_id=request.prompt.id,
        sample=request.sample,
        token_ids=tuple(completion.token_ids),
        rollout_logprobs=tuple(next(iter(entry.values())).logprob for entry in completion.logprobs),
        text=text,
        truncated=completion.finish_reason == "length",
        recurrence=recurrence,
    )


def _continuation(request: Extension, output: Any) -> Continuation:
    from rollout.vllm_worker import CONFIDENCE_ID, SCORE_ID

    completion, scoring = output.outputs[0], request.scoring
    entries = completion.logprobs
    return Continuation(
        token_ids=tuple(completion.token_ids),
        proposal_logprobs=tuple(next(iter(entry.values())).logprob for entry in entries),
        policy_logprobs=tuple(entry[SCORE_ID].logprob for entry in entries) if scoring else (),
        confidences=tuple(entry[CONFIDENCE_ID].logprob for entry in entries) if scoring and scoring.num_top else (),
        has_ended=completion.token_ids[-1] in request.sampling.stop_token_ids,
    )
