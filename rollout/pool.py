"""The pool: engines in Ray actors. Prompts are fanned out, rollouts come back in prompt order.

    driver ──generate──> actor 0 ─┐
           ──generate──> actor 1 ─┴─> gathered by index, never by completion

The driver waits for every actor, at most `timeout_s`; an actor that died raises and names itself.
"""

import gc
import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import ray

from kernels.contract import BrokenGuarantee, Contract
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from rollout.config import RolloutConfig
from rollout.engine import ENVIRONMENT, SampleRequest, VLLMEngine
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup, SamplingParams
from rollout.weights import WeightArrays, from_arrays


class ContractMismatch(BrokenGuarantee):
    """An engine and the trainer do not run under the same contract."""


class PolicyMismatch(BrokenGuarantee):
    """An engine holds other weights than the trainer published."""


class RolloutActor:
    """An engine in a Ray actor's process. The engine is made by `start`, so that processes come up side by side."""

    def __init__(self) -> None:
        self._engine: VLLMEngine | None = None
        importlib.import_module("rollout.vllm_worker")  # seconds, better spent while the trainer certifies its ops

    @property
    def engine(self) -> VLLMEngine:
        assert self._engine is not None, "start() comes first"
        return self._engine

    def start(self, model_dir: str, dtype: str, plan: LinearPlan, config: RolloutConfig) -> Contract | None:
        """The contract under which the engine came up. An engine that was there before is given up."""
        self._engine = None
        gc.collect()  # now: an engine takes vLLM's process groups with it when it goes
        self._engine = VLLMEngine(model_dir, dtype, plan, config)
        return self.engine.contract()

    def load_policy(self, step: int, weights: WeightArrays) -> PolicyVersion:
        """The version now held. `weights` are read in place from Ray's object store."""
        return self.engine.load_policy(step, from_arrays(weights))

    def generate(self, requests: Sequence[SampleRequest], params: SamplingParams) -> list[Rollout]:
        """One rollout per request, in order."""
        return self.engine.generate(requests, params)

    def call(self, function: Any, *args: Any) -> Any:
        """`function(engine, *args)`, for tests and tools that look inside an engine."""
        return function(self.engine, *args)


class RolloutPool:
    """`config.num_actors` engines behind one `generate`."""

    def __init__(
        self,
        config: RolloutConfig,
        seed: int,
        timeout_s: float = 600.0,
        environment: Mapping[str, str] = MappingProxyType({}),
        places: Sequence[Any] = (),
        num_nodes: int = 1,
    ):
        """`environment`: variables for the actors' processes, over those that the contract asks for.

        places: a Ray scheduling strategy for each actor; none leaves it to Ray. num_nodes: over how many machines they
        spread.
        """
        self._config, self._seed, self._timeout_s = config, seed, timeout_s
        variables = ENVIRONMENT | compute_environment(config.threads, -(-config.num_actors // num_nodes))
        if not config.exact:
            variables |= {"VLLM_CPU_ATTN_SPLIT_KV": "1"}  # vLLM's default
        remote = ray.remote(num_cpus=0, runtime_env={"env_vars": variables | dict(environment)})(RolloutActor)
        strategies = places or ["DEFAULT"] * config.num_actors
        self._actors = [remote.options(scheduling_strategy=strategy).remote() for strategy in strategies]
        self.policy: PolicyVersion | None = None

    def start(self, model_dir: str, dtype: str, plan: LinearPlan) -> list[Contract | None]:
        """The contract each engine came up under, in actor order."""
        return self._get([actor.start.remote(model_dir, dtype, plan, self._config) for actor in self._actors])

    def load_policy(self, version: PolicyVersion, weights: Any) -> PolicyVersion:
        """`version`, which every engine holds when this returns.

        `weights`: a Ray reference to `WeightArrays`. Raises PolicyMismatch when an engine's digest of what it holds is
        another.
        """
        held = self._get([actor.load_policy.remote(version.step, weights) for actor in self._actors])
        for index, policy in enumerate(held):
            if policy != version:
                raise PolicyMismatch(f"rollout actor {index} holds {policy}, the trainer published {version}")
        self.policy = version
        return version

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams, group_size: int) -> list[RolloutGroup]:
        """`group_size` rollouts for each prompt, in prompt order."""
        if self.policy is None:
            raise RuntimeError("the pool has no policy yet; publish the trainer's weights first")
        shares = [list(range(i, len(prompts), len(self._actors))) for i in range(len(self._actors))]
        samples = range(group_size)
        requests = [[SampleRequest(prompts[i], s, self._seed) for i in share for s in samples] for share in shares]
        pending = [a.generate.remote(own, params) for a, own in zip(self._actors, requests, strict=True)]
        groups: dict[int, RolloutGroup] = {}
        for share, rollouts in zip(shares, self._get(pending), strict=True):
            for position, index in enumerate(share):
                own = rollouts[position * group_size : (position + 1) * group_size]
                groups[index] = RolloutGroup(prompts[index], tuple(own), self.policy)
        return [groups[index] for index in range(len(prompts))]

    def call(self, index: int, function: Any, *args: Any) -> Any:
        """`function(engine, *args)` inside actor `index`."""
        return self._get([self._actors[index].call.remote(function, *args)])[0]

    def close(self) -> None:
        """Nothing; ends every actor's process."""
        for actor in self._actors:
            ray.kill(actor)

    def _get(self, pending: list[Any]) -> list[Any]:
        try:
            return ray.get(pending, timeout=self._timeout_s)
        except ray.exceptions.GetTimeoutError as error:
            raise RuntimeError(f"a rollout actor gave no answer for {self._timeout_s:.0f} s") from error


def require_contract(mine: Contract, engines: Sequence[Contract | None]) -> None:
    """Nothing; raises ContractMismatch naming the first engine whose contract is another than `mine`, or missing."""
    for index, theirs in enumerate(engines):
        if theirs is None:
            raise ContractMismatch(f"rollout actor {index} did not say under which contract it runs")
        if theirs.digest != mine.digest:
            parts = "; ".join(mine.differences(theirs))
            raise ContractMismatch(f"rollout actor {index} runs under another contract than the trainer: {parts}")
