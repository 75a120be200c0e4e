"""Engines that hold a checkpoint's own weights, without a trainer: for whoever only samples.

one Ray task: certify, load, digest ── plan ───────> engines start under it
                                    └─ weights ────> taken by every engine, whose digest must be the same
"""

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
from rl.trainer import certified_plan
from rollout.config import RolloutConfig
from rollout.pool import ContractMismatch, RolloutPool
from rollout.types import PolicyVersion
from rollout.weights import WeightArrays, to_arrays


@contextmanager
def policy_pool(
    model_dir: Path, dtype: str, config: RolloutConfig, seed: int, timeout_s: float = 600.0
) -> Iterator[RolloutPool]:
    """A started pool whose policy is the checkpoint in `model_dir`, at step 0. Leaving it ends every engine.

    dtype: `float32` or `bfloat16`; seed: keys the draws, as a run's does; timeout_s: what a call of the pool may take.
    Ray must be up. Raises ValueError with the reasons for a model that cannot be exact, and BrokenGuarantee where an
    engine holds other weights or runs under another contract than the rest.
    """
    variables = compute_environment(config.threads, num_processes=1) | {"HF_HUB_OFFLINE": "1"}
    # max_calls: the worker ends with its call. It would keep the memory of the weights that it has handed over.
    load = ray.remote(num_cpus=0, num_returns=2, max_calls=1, max_retries=0, runtime_env={"env_vars": variables})(_load)
    loaded, weights = load.remote(str(model_dir.resolve()), dtype, config.max_model_len)
    pool = RolloutPool(config, seed, timeout_s)
    try:
        plan, policy = ray.get(loaded)
        contracts = pool.start(str(model_dir.resolve()), dtype, plan)
        if config.exact:
            _require_one_contract(contracts)
        pool.load_policy(policy, weights)
        del weights  # every engine has its own copy
        yield pool
    finally:
        pool.close()


def policy_of(model: Any) -> tuple[PolicyVersion, WeightArrays]:
    """The version of a Hugging Face model's weights, as a trainer that starts from them would name it, and the weights.

    Tied weights come once. The arrays share the model's memory.
    """
    weights = {name: parameter.data for name, parameter in model.named_parameters()}
    return PolicyVersion(0, weights_digest(weights)), to_arrays(weights)


def _load(model_dir: str, dtype: str, max_model_len: int) -> tuple[tuple[LinearPlan, PolicyVersion], WeightArrays]:
    import transformers

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
