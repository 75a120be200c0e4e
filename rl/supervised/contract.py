"""What decides the bits of a supervised run, part by part."""

import dataclasses
from typing import Any, cast

from kernels.contract import OP_VERSIONS
from rl.contract.parts import model_parts, numbered, optimizer_parts, version_parts
from rl.contract.sources import own_sources
from rl.supervised.job import Job

SOURCES = (
    "kernels",
    "rl.adamw",
    "rl.canonical_model",
    "rl.data.order",
    "rl.gradient",
    "rl.rank",
    "rl.reduction",
    "rl.schedule",
    "rl.supervised.batches",
    "rl.supervised.packing",
    "rl.supervised.rank",
    "rl.supervised.types",
    "rl.zero",
)
"""The modules, and packages with all their modules, in which an edit can move a bit of any supervised run."""
PACKAGES = ("torch", "transformers", "tokenizers", "deepspeed", "numpy")


def declared_parts(job: Job) -> dict[str, Any]:
    """The parts that are known before anything starts."""
    objective: Any = job.objective
    parts = {
        "ops": {"versions": OP_VERSIONS, "sources": own_sources((*SOURCES, *job.sources))},
        "versions": version_parts(PACKAGES),
        "seed": job.seed,
        "data": {"examples": job.batches.digest},
        "objective": {"name": type(objective).__name__, **dataclasses.asdict(objective)},
        "gradient": {"num_shards": job.trainer.num_shards, "micro_batch_tokens": job.trainer.micro_batch_tokens},
        "optimizer": optimizer_parts(job.optimizer, job.steps),
        "model": model_parts(job.model_dir),
    }
    return numbered(cast(dict[str, Any], parts | dict(job.declared)))
