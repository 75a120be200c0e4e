"""The contract: everything that decides a bit of a log-probability, and its digest.

Each side builds it from what it really runs, not from what it was asked to run. Actors, ranks, batch sizes, paths and
the tracker decide nothing and stay out.
"""

import hashlib
import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass

import torch

from kernels.cpu_library import vector_isa
from kernels.linear import LinearPlan
from kernels.logprobs import LogitTransform

GLIBC_SC_LEVEL2_CACHE_SIZE = 191
"""Python knows no name for it; the attention kernel asks for the same."""
OP_VERSIONS = {"attention": 1, "linear": 1, "log_probabilities": 1, "sampler": 1}
"""Raised by hand when a change moves bits."""


class BrokenGuarantee(RuntimeError):
    """Numbers that must be equal are not: the run cannot be trusted. Exit status 3."""


@dataclass(frozen=True)
class Contract:
    """What decides the bits of one side."""

    linear: LinearPlan
    attention_isa: str
    attention_block_size: int
    attention_splits_kv: bool
    """vLLM may cut the keys of a long sequence by load; bits then depend on the batch. Must be False."""
    attention_tiles_queries: bool
    """The kernel is handed a sequence's queries a register tile at a time. Must be True."""
    l2_bytes: int
    """The attention kernel cuts keys into tiles that fit half of it."""
    logits: LogitTransform
    """What happens to logits before they are normalised."""
    recurrence: int | None
    """How often a recurrent-depth model runs its core; None for a model without one."""
    dtype: str
    device: str
    vector_isa: str
    versions: tuple[tuple[str, str], ...]
    """(package, version) of what computes."""
    ops: tuple[tuple[str, int], ...] = tuple(sorted(OP_VERSIONS.items()))

    @property
    def digest(self) -> str:
        """sha256 hex over the contract as JSON with sorted keys."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "Contract") -> list[str]:
        """One line for each field in which two contracts part: `field: mine != theirs`."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{name}: {mine[name]} != {theirs[name]}" for name in mine if mine[name] != theirs[name]]


def build_contract(
    linear: LinearPlan,
    logits: LogitTransform,
    tiles_queries: bool,
    attention_isa: str,
    block_size: int,
    splits_kv: bool,
    recurrence: int | None,
    dtype: torch.dtype,
) -> Contract:
    """The contract of a side that runs these on this machine's CPU."""
    packages = ("torch", "transformers", vllm_distribution())
    return Contract(
        linear=linear,
        attention_isa=attention_isa,
        attention_block_size=block_size,
        attention_splits_kv=splits_kv,
        attention_tiles_queries=tiles_queries,
        l2_bytes=os.sysconf(GLIBC_SC_LEVEL2_CACHE_SIZE),
        logits=logits,
        recurrence=recurrence,
        dtype=str(dtype).removeprefix("torch."),
        device="cpu",
        vector_isa=vector_isa(),
        versions=tuple((name, importlib.metadata.version(name)) for name in packages),
    )


def vllm_distribution() -> str:
    """The name of the distribution that vLLM came in: it has one for each kind of machine."""
    names = importlib.metadata.packages_distributions().get("vllm", [])
    if not names:
        raise RuntimeError("vLLM is not installed; run make setup")
    return names[0]
