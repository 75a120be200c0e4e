"""Where the processes of a run go: placement groups for the trainer's ranks and the rollout actors.

Ranks keep together, because they exchange gradients; actors spread over the nodes. Ranks and actors take turns on the
same CPUs, so a process reserves half a CPU, or less where there are many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rl.errors import UserError

PLACING_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Placement:
    """Reserved places. `ranks[i]` and `actors[i]` are scheduling strategies for Ray; `close` gives them back."""

    groups: tuple[PlacementGroup, ...]
    ranks: tuple[PlacementGroupSchedulingStrategy, ...]
    actors: tuple[PlacementGroupSchedulingStrategy, ...]
    num_nodes: int
    num_cores: int
    """Of the smallest node; 0 where there is one node, which is this machine."""

    def close(self) -> None:
        """Nothing; what was reserved is free again."""
        for group in self.groups:
            remove_placement_group(group)


def place(world_size: int, num_actors: int, threads: Sequence[int]) -> Placement:
    """Places for all processes of a run on the cluster that Ray is connected to.

    threads: what ranks and actors were told to use each, 0 where they were told nothing. Raises UserError naming what
    is missing on a cluster that is too small.
    """
    nodes = [cpus for node in ray.nodes() if node["Alive"] and (cpus := node["Resources"].get("CPU", 0.0))]
    _require_threads(max(nodes, default=0.0), threads)
    share = min(0.5, math.floor(50 * sum(nodes) / max(world_size, num_actors)) / 100)
    groups = (_reserve(world_size, share, "PACK"), _reserve(num_actors, share, "SPREAD"))
    for group in groups:
        _require_ready(group, share, nodes)
    num_cores = max(1, int(min(nodes))) if len(nodes) > 1 else 0
    ranks, actors = _strategies(groups[0], world_size), _strategies(groups[1], num_actors)
    return Placement(groups, ranks, actors, len(nodes), num_cores)


def _reserve(num_processes: int, cpus: float, strategy: str) -> PlacementGroup:
    return placement_group([{"CPU": cpus}] * num_processes, strategy=strategy)


def _strategies(group: PlacementGroup, num_processes: int) -> tuple[PlacementGroupSchedulingStrategy, ...]:
    return tuple(PlacementGroupSchedulingStrategy(group, index) for index in range(num_processes))


def _require_threads(most_cpus: float, threads: Sequence[int]) -> None:
    if max(threads) > most_cpus:
        raise UserError(
            f"the config asks for {max(threads)} threads in one process, and the largest node of the Ray cluster has "
            f"{most_cpus:g} CPUs; lower trainer.threads or rollout.threads, or join a larger node"
        )


def _require_ready(group: PlacementGroup, share: float, nodes: Sequence[float]) -> None:
    if not group.wait(PLACING_TIMEOUT_S):
        free = ray.available_resources().get("CPU", 0.0)
        raise UserError(
            f"the Ray cluster is too full: {group.bundle_count} processes of {share:g} CPUs could not be placed "
            f"in {PLACING_TIMEOUT_S:g} s on {len(nodes)} nodes with {sum(nodes):g} CPUs, of which {free:g} are free; "
            "end other jobs, join more nodes, or lower rollout.num_actors and trainer.world_size"
        )
