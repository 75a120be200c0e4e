"""Engines that hold a checkpoint's own weights, without a trainer: for whoever only samples.

one Ray task: certify, load, digest ── plan ───────> engines start under it
                                    └─ weights ────> taken by every engine, whose digest must be the same
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch

from kernels.contract import Contract
from kernels.digest import weights_digest
from kernels.linear import LinearPlan
from kernels.process import compute_environment
from kernels.recurrent.registration import register
from rl.canonical_model import certified_plan
from rollout.config import RolloutConfig
from rollout.deadlines import Deadlines, model_bytes
from rollout.pool import ContractMismatch, RolloutPool
from rollout.remote import Patience, ProcessLost, answer, call
from rollout.types import PolicyVersion
from rollout.weights import WeightArrays, to_arrays

logger = logging.getLogger(__name__)


@contextmanager
def policy_pool(
    model_dir: Path, dtype: str, config: RolloutConfig, seed: int, timeout_s: float = 300.0
) -> Iterator[RolloutPool]:
    """A started pool whose policy is the checkpoint in `model_dir`, at step 0. Leaving it ends every engine.

    dtype: `float32` or `bfloat16`; seed: keys the draws, as a run's does; timeout_s: the least that a call may take.
    Ray must be up. Raises ValueError with the reasons for a model that cannot be exact, and BrokenGuarantee where an
    engine holds other weights or runs under another contract than the rest.
    """
    checkpoint = _Checkpoint(str(model_dir.resolve()), dtype, config, timeout_s)
    pool = RolloutPool(config, seed, timeout_s)
    try:
        plan, policy = checkpoint.read()
        contracts = pool.start(str(model_dir.resolve()), dtype, plan)
        if config.exact:
            _require_one_contract(contracts)
        pool.load_policy(policy, checkpoint.take_weights)
        yield pool
    finally:
        pool.close()


class _Checkpoint:
    """A checkpoint that is read in a process of its own, and read again when its weights are wanted again."""

    def __init__(self, model_dir: str, dtype: str, config: RolloutConfig, timeout_s: float) -> None:
        self._args = (model_dir, dtype, config.max_model_len)
        self._within_s = Deadlines(timeout_s, model_bytes(model_dir)).start_s()
        variables = compute_environment(config.threads, num_processes=1) | {"HF_HUB_OFFLINE": "1"}
        # max_calls: the worker ends with its call. It would keep the memory of the weights that it has handed over.
        options = {"num_cpus": 0, "num_returns": 2, "max_calls": 1, "max_retries": 0}
        self._remote = ray.remote(**options, runtime_env={"env_vars": variables})(_load)
        self._weights: Any = None

    def read(self) -> tuple[LinearPlan, PolicyVersion]:
        """The certified linear and the version of the weights; they are kept until they are taken."""
        patience = Patience(logger.warning)
        while True:
            loaded, self._weights = self._remote.remote(*self._args)
            try:
                read: tuple[LinearPlan, PolicyVersion] = answer(
                    call("the process that reads the model", "reading it", loaded, self._within_s)
                )
                return read
            except ProcessLost as lost:
                ray.cancel(loaded, force=True)
                patience.spend(lost)

    def take_weights(self) -> Any:
        """A Ray reference to the weights, which nobody else keeps: every engine makes its own copy."""
        if self._weights is None:
            self.read()
        weights, self._weights = self._weights, None
        return weights


def policy_of(model: Any) -> tuple[PolicyVersion, WeightArrays]:
    """The version of a Hugging Face model's weights, as a trainer that starts from them would name it, and the weights.

    Tied weights come once. The arrays share the model's memory.
    """
    weights = {name: parameter.data for name, parameter in model.named_parameters()}
    return PolicyVersion(0, weights_digest(weights)), to_arrays(weights)


def _load(model_dir: str, dtype: str, max_model_len: int) -> tuple[tuple[LinearPlan, PolicyVersion], WeightArrays]:
    import transformers

    register()
    plan = certified_plan(model_dir, dtype, max_model_len)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype))
    policy, weights = policy_of(model)
    return (plan, policy), weights


def _require_one_contract(contracts: Sequence[Contract | None]) -> None:
    first = contracts[0]
    for index, other in enumerate(contracts):
        if first is None or other is None:
            raise ContractMismatch(f"rollout actor {index} did not say under which contract it runs")
        if first.digest != other.digest:
            parts = "; ".join(first.differences(other))
            raise ContractMismatch(f"rollout actor {index} runs under another contract than rollout actor 0: {parts}")
