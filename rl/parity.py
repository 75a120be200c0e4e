"""Whether a checkpoint comes out exact on this machine: the engine and the trainer's forward pass, bit by bit.

    random prompts ── engine: chunked prefill, decode ──────────── log-probabilities ─┐
                   └─ prompt + completion as one prompt, prefill ─ log-probabilities ─┼─ equal in all bits?
                   └─ the seam, packed whole and one by one ────── log-probabilities ─┘

A check takes seconds; a training run proves the same again at every token.
"""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kernels.linear import LinearPlan
from kernels.recurrent.registration import register
from rl.forward import ForwardPass
from rl.room import GIB, sequence_bytes
from rollout.config import RolloutConfig
from rollout.engine import VLLMEngine
from rollout.pool import RolloutPool
from rollout.types import Prompt, Rollout, RolloutGroup, SamplingParams

PROMPT_TOKENS = (3, 40, 90, 131)
"""Lengths of the prompts: below, in and beyond a chunk of the prefill and a block of the cache."""
SHARED_PREFIX = 64
GROUP_SIZE = 3
NEW_TOKENS = 24
MICRO_BATCH_ROWS = (4096, 1)
"""Everything packed into one forward pass, and each rollout in a pass of its own."""
SQUEEZED = RolloutConfig(max_model_len=256, max_num_seqs=5, max_num_batched_tokens=48, kv_cache_gib=0.1)
"""An engine in which every way of scheduling occurs: chunked prefills, waiting requests, shared prefixes."""


@dataclass(frozen=True)
class ParityReport:
    """What was compared, and how it came out."""

    model_type: str
    dtype: str
    num_tokens: int
    """Log-probabilities compared."""
    num_mismatched: int
    problems: tuple[str, ...]
    """The first mismatch of each kind, in words."""
    seconds: float


def check_parity(model_dir: Path, dtype: str, plan: LinearPlan | None = None) -> ParityReport:
    """Compares the engine with the trainer's forward pass on random prompts; starts Ray where it is not up.

    dtype: `float32` or `bfloat16`; plan: the certified linear, None certifies it first. Raises ValueError with the
    reasons for a model that the seams do not cover.
    """
    from rl.cluster import ray_cluster

    with ray_cluster(), ParityChecker() as checker:
        return checker.check(model_dir, dtype, plan)


class ParityChecker:
    """An engine and a forward pass, each in a process of its own, for one model after the other."""

    def __init__(self) -> None:
        self._forward = ForwardPass()
        self._pool = RolloutPool(SQUEEZED, seed=0)

    def __enter__(self) -> "ParityChecker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()
        self._forward.close()

    def check(self, model_dir: Path, dtype: str, plan: LinearPlan | None = None) -> ParityReport:
        """The report on one checkpoint, as `check_parity` gives it."""
        started = time.perf_counter()
        rollout = squeezed(_model_config(model_dir), dtype)
        plan, config = self._forward.load(model_dir, dtype, rollout.max_model_len, plan)
        self._pool.start(str(model_dir.resolve()), dtype, plan, rollout)
        self._pool.load_policy(self._forward.policy(), self._forward.put_weights)
        compared = [c for args in self._rollouts(config.vocab_size, rollout) for c in self._compare(*args)]
        mismatched = [c for c in compared if not c.is_equal]
        return ParityReport(
            model_type=config.model_type,
            dtype=dtype,
            num_tokens=len(compared),
            num_mismatched=len(mismatched),
            problems=tuple({c.kind: c.in_words() for c in reversed(mismatched)}.values()),
            seconds=time.perf_counter() - started,
        )

    def _compare(self, groups: Sequence[RolloutGroup], temperature: float, kind: str) -> Iterator["_Comparison"]:
        """Every log-probability of `groups` beside the one of the forward pass."""
        for rows in MICRO_BATCH_ROWS:
            for group, trained in zip(groups, self._forward.logprobs(groups, temperature, rows), strict=True):
                prompt_tokens = len(group.prompt.token_ids)
                for rollout, mine in zip(group.rollouts, trained, strict=True):
                    for position, pair in enumerate(zip(rollout.rollout_logprobs, mine, strict=True)):
                        yield _Comparison(kind, prompt_tokens, position, *pair)

    def _rollouts(self, vocabulary: int, rollout: RolloutConfig) -> Iterator[tuple[list[RolloutGroup], float, str]]:
        """Groups to be compared, the temperature they were sampled at, and what they are."""
        prompts = _prompts(vocabulary, rollout.max_model_len)
        for temperature in (1.0, 0.7):
            sampling = SamplingParams(temperature=temperature, max_new_tokens=NEW_TOKENS)
            groups = self._pool.generate(prompts, sampling, GROUP_SIZE)
            yield groups, temperature, f"decode at temperature {temperature:g}"
        longer = [_extended(group) for group in groups]
        once = SamplingParams(max_new_tokens=1)
        yield self._pool.generate(longer, once, 1), 1.0, "prefill behind cached blocks"
        self._pool.call(0, VLLMEngine.reset_prefix_cache)
        yield self._pool.generate(longer, once, 1), 1.0, "prefill"


@dataclass(frozen=True)
class _Comparison:
    kind: str
    prompt_tokens: int
    position: int
    rollout: float
    trainer: float

    @property
    def is_equal(self) -> bool:
        return struct.pack("<f", self.rollout) == struct.pack("<f", self.trainer)

    def in_words(self) -> str:
        return (
            f"{self.kind}, prompt of {self.prompt_tokens} tokens, position {self.position}: engine "
            f"{self.rollout.hex()} ({self.rollout:.7g}), trainer {self.trainer.hex()} ({self.trainer:.7g})"
        )


def squeezed(model_config: Any, dtype: str) -> RolloutConfig:
    """`SQUEEZED` for a model: no longer than the model takes, and with room for two sequences where 0.1 GiB have none.

    model_config: a Hugging Face config; dtype: `float32` or `bfloat16`.
    """
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None) or SQUEEZED.max_model_len
    max_model_len = min(SQUEEZED.max_model_len, limit)
    room = 2 * sequence_bytes(model_config, max_model_len, dtype) / GIB
    return replace(SQUEEZED, max_model_len=max_model_len, kv_cache_gib=max(SQUEEZED.kv_cache_gib, room))


def _model_config(model_dir: Path) -> Any:
    from transformers import AutoConfig

    register()
    return AutoConfig.from_pretrained(model_dir)


def _prompts(vocabulary: int, max_model_len: int) -> list[Prompt]:
    """Those that leave room for a completion and the token that is drawn behind both."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randint(vocabulary, (SHARED_PREFIX,), generator=generator).tolist()
    prompts = []
    for index, length in enumerate(n for n in PROMPT_TOKENS if n + NEW_TOKENS < max_model_len):
        own = torch.randint(vocabulary, (length,), generator=generator).tolist()
        prompts.append(Prompt(f"parity/{index}", "", tuple([*shared, *own][:length] if length > 64 else own), {}))
    return prompts


def _extended(group: RolloutGroup) -> Prompt:
    """The prompt and its first completion as one prompt."""
    first: Rollout = group.rollouts[0]
    return Prompt(f"{group.prompt.id}/extended", "", group.prompt.token_ids + first.token_ids, {})
