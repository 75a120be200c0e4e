"""The pool: engines in Ray actors. Prompts are fanned out, rollouts come back in prompt order.

    driver ──generate──> actor 0 ─┐
           ──generate──> actor 1 ─┴─> gathered by index, never by completion

An actor that dies, or is silent past its deadline, is replaced in its place: started under the same contract, given the
same weights, and asked its own share again. A rollout is a pure function of policy, prompt and draws, so nothing else
changes.
"""

import gc
import importlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ray

from kernels.contract import BrokenGuarantee, Contract
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from rollout.config import RolloutConfig
from rollout.deadlines import Deadlines, deadlines_of
from rollout.engine import ENVIRONMENT, SampleRequest, VLLMEngine
from rollout.extension import Continuation, Extension, shares_by_lane
from rollout.remote import Call, InputLost, Patience, ProcessLost, answer, call, settled
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup, SamplingParams
from rollout.weights import WeightArrays, from_arrays

logger = logging.getLogger(__name__)


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

    def extend(self, requests: Sequence[Extension]) -> list[Continuation]:
        """One continuation per request, in order."""
        return self.engine.extend(requests)

    def call(self, function: Any, *args: Any) -> Any:
        """`function(engine, *args)`, for tests and tools that look inside an engine."""
        return function(self.engine, *args)


@dataclass(frozen=True)
class _Task:
    """What an actor is asked to do."""

    method: str
    args: tuple[Any, ...]
    within_s: float


class _Seat:
    """The place of one actor in the pool; `replace` puts another actor into it."""

    def __init__(self, index: int, create: Callable[[], Any], say: Callable[[str], None]):
        self._who, self._create = f"rollout actor {index}", create
        self._actor = create()
        self._busy_until = 0.0
        self.patience = Patience(say)

    def ask(self, what: str, task: _Task) -> Call:
        """The call, which may first have to wait for one that nobody waits for any more."""
        queued_s = max(0.0, self._busy_until - time.monotonic())
        asked = call(self._who, what, getattr(self._actor, task.method).remote(*task.args), queued_s + task.within_s)
        self._busy_until = asked.due_at
        return asked

    def answer(self, asked: Call) -> Any:
        """What the actor answered. Raises ProcessLost, or the error of the work itself."""
        answered = answer(asked)
        self._busy_until = 0.0
        return answered

    def replace(self) -> None:
        """Nothing; another process is coming up in this place."""
        self.close()
        self._actor, self._busy_until = self._create(), 0.0

    def close(self) -> None:
        """Nothing; ends the actor's process, stopped ones as well."""
        ray.kill(self._actor)


class RolloutPool:
    """`config.num_actors` engines behind one `generate`."""

    def __init__(
        self,
        config: RolloutConfig,
        seed: int,
        timeout_s: float = 300.0,
        environment: Mapping[str, str] = MappingProxyType({}),
        places: Sequence[Any] = (),
        num_nodes: int = 1,
        num_cores: int = 0,
        say: Callable[[str], None] = logger.warning,
    ):
        """`environment`: variables for the actors' processes, over those that the contract asks for.

        timeout_s: the least that any call may take, see `rollout/deadlines.py`. places: a Ray scheduling strategy for
        each actor; none leaves it to Ray. num_nodes: over how many machines they spread. num_cores: of the smallest of
        them; 0 is this one. say: told of every actor that was lost.
        """
        self._config, self._seed = config, seed
        self._deadlines = Deadlines(timeout_s)
        num_beside = -(-config.num_actors // num_nodes)
        variables = ENVIRONMENT | compute_environment(config.threads, num_beside, num_cores)
        if not config.exact:
            variables |= {"VLLM_CPU_ATTN_SPLIT_KV": "1"}  # vLLM's default
        remote = ray.remote(num_cpus=0, runtime_env={"env_vars": variables | dict(environment)})(RolloutActor)
        strategies = places or ["DEFAULT"] * config.num_actors
        self._seats = [
            _Seat(index, remote.options(scheduling_strategy=strategy).remote, say)
            for index, strategy in enumerate(strategies)
        ]
        self._birth: tuple[Any, ...] | None = None
        self._source: Callable[[], Any] | None = None
        self._is_closed = False
        self.contracts: list[Contract | None] = []
        self.policy: PolicyVersion | None = None
        self.num_lost = 0
        """Actors that were lost and replaced so far."""

    def start(
        self, model_dir: str, dtype: str, plan: LinearPlan, config: RolloutConfig | None = None
    ) -> list[Contract | None]:
        """The contract each engine came up under, in actor order. Engines that were there before are given up.

        config: of the engines, where it is not the pool's.
        """
        self._birth, self.policy = None, None
        self._deadlines = deadlines_of(self._deadlines.least_s, model_dir)
        birth = (model_dir, dtype, plan, config or self._config)
        task = _Task("start", birth, self._deadlines.start_s())
        self.contracts = self._all("starting", lambda index, again: task)
        self._birth = birth
        return self.contracts

    def load_policy(self, version: PolicyVersion, source: Callable[[], Any]) -> PolicyVersion:
        """`version`, which every engine holds when this returns.

        source: gives a Ray reference to `WeightArrays`; asked again whenever an engine has to be given the weights of
        `version` again. Raises PolicyMismatch when an engine's digest of what it holds is another.
        """
        self.policy, self._source = None, source
        weights = source()
        held = self._all("taking weights", lambda index, again: self._load(version, source() if again else weights))
        for index, policy in enumerate(held):
            _require_policy(index, policy, version)
        self.policy = version
        return version

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams, group_size: int) -> list[RolloutGroup]:
        """`group_size` rollouts for each prompt, in prompt order."""
        if self.policy is None:
            raise RuntimeError("the pool has no policy yet; publish the trainer's weights first")
        shares = [list(range(i, len(prompts), len(self._seats))) for i in range(len(self._seats))]
        samples = range(group_size)
        requests = [[SampleRequest(prompts[i], s, self._seed) for i in share for s in samples] for share in shares]
        rollouts_of = self._all("sampling", lambda index, again: self._sample(requests[index], params))
        groups: dict[int, RolloutGroup] = {}
        for share, rollouts in zip(shares, rollouts_of, strict=True):
            for position, index in enumerate(share):
                own = rollouts[position * group_size : (position + 1) * group_size]
                groups[index] = RolloutGroup(prompts[index], tuple(own), self.policy)
        return [groups[index] for index in range(len(prompts))]

    def extend(self, requests: Sequence[Extension]) -> list[Continuation]:
        """One continuation per request, in order: the pool is a `ContinuationSampler`."""
        if self.policy is None:
            raise RuntimeError("the pool has no policy yet; publish the trainer's weights first")
        shares = shares_by_lane(requests, len(self._seats))
        drawn_by = self._all("drawing on", lambda index, again: self._draw_on([requests[i] for i in shares[index]]))
        drawn = {i: c for share, own in zip(shares, drawn_by, strict=True) for i, c in zip(share, own, strict=True)}
        return [drawn[i] for i in range(len(requests))]

    def call(self, index: int, function: Any, *args: Any) -> Any:
        """`function(engine, *args)` inside actor `index`; not asked again when the actor is lost."""
        seat, task = self._seats[index], _Task("call", (function, *args), self._deadlines.start_s())
        return seat.answer(seat.ask("looking inside its engine", task))

    def close(self) -> None:
        """Nothing; ends every actor's process."""
        self._is_closed = True
        for seat in self._seats:
            seat.close()

    def _load(self, version: PolicyVersion, weights: Any) -> _Task:
        return _Task("load_policy", (version.step, weights), self._deadlines.move_s(copies=4))

    def _sample(self, requests: Sequence[SampleRequest], params: SamplingParams) -> _Task:
        num_tokens = sum(len(request.prompt.token_ids) + params.max_new_tokens for request in requests)
        return _Task("generate", (requests, params), self._deadlines.sample_s(num_tokens))

    def _draw_on(self, requests: Sequence[Extension]) -> _Task:
        num_tokens = sum(len(r.prompt.token_ids) + len(r.prefix) + r.sampling.max_new_tokens for r in requests)
        return _Task("extend", (requests,), self._deadlines.sample_s(num_tokens))

    def _all(self, what: str, task: Callable[[int, bool], _Task]) -> list[Any]:
        """The answer of every actor, in order. One that is lost is replaced and asked again.

        task: for an actor, and whether it is asked again.
        """
        waiting = {index: seat.ask(what, task(index, False)) for index, seat in enumerate(self._seats)}
        answers: dict[int, Any] = {}
        while waiting:
            done = settled(list(waiting.values()))
            for index in [i for i, asked in waiting.items() if asked in done]:
                seat = self._seats[index]
                try:
                    answers[index] = seat.answer(waiting.pop(index))
                    seat.patience.renew()
                except ProcessLost as lost:
                    self._bring_back(index, lost)
                    waiting[index] = seat.ask(what, task(index, True))
        return [answers[index] for index in range(len(self._seats))]

    def _bring_back(self, index: int, lost: ProcessLost) -> None:
        """Nothing; actor `index` stands again where the others do."""
        while True:
            if self._is_closed:
                raise lost
            self._seats[index].patience.spend(lost)
            try:
                return self._replace(index) if not isinstance(lost, InputLost) else None
            except ProcessLost as again:
                lost = again

    def _replace(self, index: int) -> None:
        seat = self._seats[index]
        self.num_lost += 1
        seat.replace()
        if self._is_closed:  # meanwhile, by another thread
            seat.close()
            raise RuntimeError("the pool is closed")
        if self._birth:
            contract = seat.answer(seat.ask("starting", _Task("start", self._birth, self._deadlines.start_s())))
            _require_same_contract(index, contract, self.contracts[index])
        if self.policy:
            assert self._source is not None, "a policy came from somewhere"
            held = seat.answer(seat.ask("taking weights", self._load(self.policy, self._source())))
            _require_policy(index, held, self.policy)


def _require_policy(index: int, held: PolicyVersion, published: PolicyVersion) -> None:
    if held != published:
        raise PolicyMismatch(f"rollout actor {index} holds {held}, the trainer published {published}")


def _require_same_contract(index: int, now: Contract | None, before: Contract | None) -> None:
    if now != before:
        parts = "; ".join(before.differences(now)) if before and now else "one of the two is missing"
        raise ContractMismatch(f"rollout actor {index} came back under another contract: {parts}")


def require_contract(mine: Contract, engines: Sequence[Contract | None]) -> None:
    """Nothing; raises ContractMismatch naming the first engine whose contract is another than `mine`, or missing."""
    for index, theirs in enumerate(engines):
        if theirs is None:
            raise ContractMismatch(f"rollout actor {index} did not say under which contract it runs")
        if theirs.digest != mine.digest:
            parts = "; ".join(mine.differences(theirs))
            raise ContractMismatch(f"rollout actor {index} runs under another contract than the trainer: {parts}")
