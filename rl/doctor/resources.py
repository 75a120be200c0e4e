"""What the configured run needs, held against what the machine has."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from rl.config import Config
from rl.doctor.finding import Finding, mend, warn
from rl.doctor.machine import Memory, object_store_bytes, read_memory
from rl.doctor.model import Model
from rl.doctor.sizes import gib
from rl.memory import FP32, ITEMSIZE, MemoryEstimate, estimate_memory


def check_resources(config: Config, model: Model, dtype: str) -> Iterator[Finding]:
    """Findings on memory, object store and disk for a run of `config` on `model` in `dtype` (not `auto`)."""
    config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, dtype=dtype))
    memory, num_parameters = read_memory(), model.skeleton.num_parameters()
    weights = num_parameters * ITEMSIZE[dtype]
    yield memory_finding(estimate_memory(config, model.skeleton.config), memory)
    yield weight_sync_finding(weights, object_store_bytes(memory))
    yield disk_finding(Path(config.run.dir), checkpoint_bytes(config, num_parameters) + weights)


def memory_finding(estimate: MemoryEstimate, memory: Memory) -> Finding:
    """A finding on the most that a run takes, were it alone on this machine and as things are."""
    needed, part = estimate.total_bytes, estimate.largest_adjustable
    kinds = ", ".join(f"{p.count} x {p.name} {gib(p.num_bytes)}" for p in estimate.processes)
    found = f"at most {gib(needed)} ({kinds})"
    remedy = f"lower {part.lowered_by}: its share, {part.name}, is {gib(part.num_bytes)}"
    if needed > memory.total:
        return mend("memory needed", f"{found}; there is {gib(memory.total)}", remedy)
    if needed > memory.available:
        found = f"{found}; {gib(memory.available)} of {gib(memory.total)} are available now"
        return warn("memory needed", found, f"end what else takes memory, or {remedy}")
    return Finding("memory needed", f"{found}; {gib(memory.available)} are available")


def weight_sync_finding(weights: int, object_store: int) -> Finding:
    """A finding on the object store, which holds the weights once while they go to the engines."""
    found = f"{gib(weights)} of weights go through an object store of {gib(object_store)}"
    if weights < object_store:
        return Finding("weight sync", found)
    return mend("weight sync", found, "give Ray a larger store: ray start --head --object-store-memory BYTES")


def checkpoint_bytes(config: Config, num_parameters: int) -> int:
    """What the checkpoints of a run take: master weights and two moments, `keep` of them and the one being written."""
    return (config.checkpoint.keep + 1) * 3 * FP32 * num_parameters


def disk_finding(run_dir: Path, needed: int) -> Finding:
    """A finding on the disk where `run_dir` lies or will lie."""
    place = next(path for path in (run_dir.absolute(), *run_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{gib(needed)} for checkpoints and the final model, {gib(free)} free at {place}"
    if free >= needed:
        return Finding("disk", found)
    return mend("disk", found, "free space, give another run.dir, or lower checkpoint.keep")
