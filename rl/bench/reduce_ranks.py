"""Ranks that reduce the same gradient canonically and as DeepSpeed does, in turns."""

import statistics
import time
from typing import Any

import ray
import torch
from torch import nn

from kernels.process import compute_environment
from rl.gradient import clip_factor
from rl.reduction import Reduction
from rl.zero.process_group import join_process_group

NUM_PARAMETERS = 16


def reduction_times(num_ranks: int, num_elements: int, repeats: int) -> dict[str, float]:
    """Median seconds of `canonical`, of its `digest`, and of `deepspeed`; each time that of the slowest rank."""
    environment = compute_environment(0, num_ranks) | {"DS_ACCELERATOR": "cpu"}
    remote = ray.remote(num_cpus=0, runtime_env={"env_vars": environment})(ReduceRank)
    ranks = [remote.remote(rank, num_ranks) for rank in range(num_ranks)]
    port = ray.get(ranks[0].free_port.remote())
    measured = ray.get([rank.measure.remote(port, num_elements, repeats) for rank in ranks])
    for rank in ranks:
        ray.kill(rank)
    return {name: statistics.median(map(max, zip(*(m[name] for m in measured), strict=True))) for name in measured[0]}


class ReduceRank:
    """A rank in a Ray actor."""

    def __init__(self, rank: int, num_ranks: int):
        self._rank, self._num_ranks = rank, num_ranks

    def free_port(self) -> int:
        """A port of this machine that nobody listens on."""
        import socket

        with socket.socket() as probe:
            probe.bind(("", 0))
            return probe.getsockname()[1]

    def measure(self, port: int, num_elements: int, repeats: int) -> dict[str, list[float]]:
        """Seconds of each way, `repeats` times after a warm-up."""
        join_process_group(self._rank, self._num_ranks, "127.0.0.1", port)
        gradient = torch.randn(num_elements, generator=torch.Generator().manual_seed(self._rank))
        engine, reduction = _deepspeed(num_elements), Reduction(num_elements)
        times: dict[str, list[float]] = {"canonical": [], "digest": [], "deepspeed": []}
        for _ in range(repeats + 1):
            canonical_s, digest_s = _canonical_s(reduction, gradient)
            for name, seconds in (("canonical", canonical_s), ("digest", digest_s)):
                times[name].append(seconds)
            times["deepspeed"].append(_deepspeed_s(engine, gradient))
        return {name: seconds[1:] for name, seconds in times.items()}


class Given(torch.autograd.Function):
    """A loss whose gradients are given, so that a backward pass is nothing but their reduction."""

    @staticmethod
    def forward(ctx, gradients, *parameters):  # type: ignore[no-untyped-def]
        ctx.gradients = gradients
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx, _):  # type: ignore[no-untyped-def]
        return None, *ctx.gradients


class Parameters(nn.Module):
    """Parameters whose gradients are given."""

    def __init__(self, num_elements: int):
        super().__init__()
        size = num_elements // NUM_PARAMETERS
        self.all = nn.ParameterList(nn.Parameter(torch.zeros(size)) for _ in range(NUM_PARAMETERS))

    def forward(self, gradients: list[torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = Given.apply(gradients, *self.all)
        return loss


def _deepspeed(num_elements: int) -> Any:
    import deepspeed

    model = Parameters(num_elements)
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": 1, "overlap_comm": False, "reduce_bucket_size": num_elements},
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=settings)[0]


def _canonical_s(reduction: Reduction, gradient: torch.Tensor) -> tuple[float, float]:
    """Seconds from the ranks' gradients to the clipped sum on all of them, and of the digest besides."""
    subtotal = torch.zeros(reduction.num_padded)
    subtotal[: len(gradient)] = gradient
    torch.distributed.barrier()
    start = time.perf_counter()
    piece = reduction.sum(subtotal)
    piece.mul_(clip_factor(reduction.norm(piece), max_norm=1.0))
    reduction.gather(piece, out=subtotal)
    reduced = time.perf_counter()
    reduction.digest(reduction.digests(piece))
    return reduced - start, time.perf_counter() - reduced


def _deepspeed_s(engine: Any, gradient: torch.Tensor) -> float:
    """Seconds from the ranks' gradients to the reduced partitions and their norm."""
    loss = engine(list(gradient.clone().chunk(NUM_PARAMETERS)))
    torch.distributed.barrier()
    start = time.perf_counter()
    engine.backward(loss)
    engine.optimizer.scaled_global_norm()
    elapsed = time.perf_counter() - start
    engine.step()
    return elapsed
