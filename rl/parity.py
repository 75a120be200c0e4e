"""Whether a checkpoint comes out exact on this machine: the engine and the trainer's forward pass, bit by bit.

    random prompts ── engine: chunked prefill, decode ──────────── log-probabilities ─┐
                   └─ prompt + completion as one prompt, prefill ─ log-probabilities ─┼─ equal in all bits?
                   └─ the seam, packed whole and one by one ────── log-probabilities ─┘

A check takes seconds; a training run proves the same again at every token.
"""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from kernels import seam
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from rl.batching import micro_batches
from rl.policy_pool import policy_of
from rl.trainer import certified_plan
from rl.types import ScoredGroup
from rollout.config import RolloutConfig
from rollout.engine import VLLMEngine
from rollout.pool import RolloutPool
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup, SamplingParams

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


def check_parity(model_dir: Path, dtype: str) -> ParityReport:
    """Compares the engine with the trainer's forward pass on random prompts; starts Ray where it is not up.

    dtype: `float32` or `bfloat16`. Raises ValueError with the reasons for a model that the seams do not cover.
    """
    from rl.cluster import ray_cluster

    with ray_cluster(), ParityChecker() as checker:
        return checker.check(model_dir, dtype)


class ParityChecker:
    """An engine and a forward pass, each in a process of its own, for one model after the other."""

    def __init__(self) -> None:
        variables = compute_environment(threads=0, num_processes=1) | {"HF_HUB_OFFLINE": "1"}
        self._forward = ray.remote(num_cpus=0, runtime_env={"env_vars": variables})(_ForwardActor).remote()
        self._pool = RolloutPool(SQUEEZED, seed=0)

    def __enter__(self) -> "ParityChecker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()
        ray.kill(self._forward)

    def check(self, model_dir: Path, dtype: str) -> ParityReport:
        """The report on one checkpoint. Raises ValueError for a model that the seams do not cover."""
        started = time.perf_counter()
        plan, model_type, vocabulary = self._ask("load", str(model_dir.resolve()), dtype)
        self._pool.start(str(model_dir.resolve()), dtype, plan)
        policy, weights = self._ask("put_weights")
        self._pool.load_policy(policy, weights[0])
        compared = [c for args in self._rollouts(vocabulary) for c in self._ask("compare", *args)]
        mismatched = [c for c in compared if not c.is_equal]
        return ParityReport(
            model_type=model_type,
            dtype=dtype,
            num_tokens=len(compared),
            num_mismatched=len(mismatched),
            problems=tuple({c.kind: c.in_words() for c in reversed(mismatched)}.values()),
            seconds=time.perf_counter() - started,
        )

    def _rollouts(self, vocabulary: int) -> Iterator[tuple[list[RolloutGroup], float, str]]:
        """Groups to be compared, the temperature they were sampled at, and what they are."""
        prompts = _prompts(vocabulary)
        for temperature in (1.0, 0.7):
            sampling = SamplingParams(temperature=temperature, max_new_tokens=NEW_TOKENS)
            groups = self._pool.generate(prompts, sampling, GROUP_SIZE)
            yield groups, temperature, f"decode at temperature {temperature:g}"
        longer = [_extended(group) for group in groups]
        once = SamplingParams(max_new_tokens=1)
        yield self._pool.generate(longer, once, 1), 1.0, "prefill behind cached blocks"
        self._pool.call(0, VLLMEngine.reset_prefix_cache)
        yield self._pool.generate(longer, once, 1), 1.0, "prefill"

    def _ask(self, method: str, *args: Any) -> Any:
        try:
            return ray.get(getattr(self._forward, method).remote(*args))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error


class _ForwardActor:
    """The trainer's forward pass, without an optimizer."""

    def load(self, model_dir: str, dtype: str) -> tuple[LinearPlan, str, int]:
        """The certified linear, the model's type and the size of its vocabulary."""
        import transformers

        plan = certified_plan(model_dir, dtype, SQUEEZED.max_model_len)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype)).eval()
        seam.install(self._model, plan)
        return plan, self._model.config.model_type, self._model.config.vocab_size

    def put_weights(self) -> tuple[PolicyVersion, list[Any]]:
        """The version of the weights, and a reference to them, in a list so that Ray hands it on unresolved."""
        policy, weights = policy_of(self._model)
        return policy, [ray.put(weights)]

    def compare(self, groups: Sequence[RolloutGroup], temperature: float, kind: str) -> list["_Comparison"]:
        """Every log-probability of `groups` beside the one computed here."""
        return list(_compare(self._model, groups, temperature, kind))


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


def _prompts(vocabulary: int) -> list[Prompt]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randint(vocabulary, (SHARED_PREFIX,), generator=generator).tolist()
    prompts = []
    for index, length in enumerate(PROMPT_TOKENS):
        own = torch.randint(vocabulary, (length,), generator=generator).tolist()
        prompts.append(Prompt(f"parity/{index}", "", tuple([*shared, *own][:length] if length > 64 else own), {}))
    return prompts


def _extended(group: RolloutGroup) -> Prompt:
    """The prompt and its first completion as one prompt."""
    first: Rollout = group.rollouts[0]
    return Prompt(f"{group.prompt.id}/extended", "", group.prompt.token_ids + first.token_ids, {})


def _compare(model: Any, groups: Sequence[RolloutGroup], temperature: float, kind: str) -> Iterator[_Comparison]:
    scored = [ScoredGroup(group, (), (0.0,) * len(group.rollouts)) for group in groups]
    for rows in MICRO_BATCH_ROWS:
        for batch in micro_batches(scored, rows):
            with torch.no_grad():
                trainer = seam.token_logprobs(
                    model, batch.token_ids, batch.layout, batch.predicting_rows, batch.targets, temperature
                )
            places = [
                (len(piece.group.group.prompt.token_ids), position)
                for piece in batch.slices
                for rollout in piece.rollouts
                for position in range(len(rollout.token_ids))
            ]
            values = zip(places, batch.rollout_logprobs.tolist(), trainer.logprobs.tolist(), strict=True)
            for (prompt_tokens, position), sampled, trained in values:
                yield _Comparison(kind, prompt_tokens, position, sampled, trained)
