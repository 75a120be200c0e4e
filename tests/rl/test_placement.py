from types import SimpleNamespace
from typing import Any

import pytest

import rl.placement
from rl.errors import UserError
from rl.placement import Placement, place


def placed(monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, Any]) -> Placement:
    """Two ranks and two actors on a cluster of `nodes`, each with what it has and whether it is there."""
    monkeypatch.setattr(rl.placement.ray, "nodes", lambda: list(nodes))
    monkeypatch.setattr(rl.placement, "placement_group", lambda *_, **__: SimpleNamespace(wait=lambda timeout: True))
    return place(world_size=2, num_actors=2, threads=(0, 8))


def node(cpus: float, is_alive: bool = True) -> dict[str, Any]:
    return {"Alive": is_alive, "Resources": {"CPU": cpus} if cpus else {}}


def test_threads_are_counted_by_the_smallest_node_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    places = placed(monkeypatch, node(16.0), node(8.0), node(2.0, is_alive=False), node(32.0))
    assert (places.num_nodes, places.num_cores) == (3, 8)


def test_a_head_that_computes_nothing_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    places = placed(monkeypatch, node(0.0), node(16.0), node(8.0))
    assert (places.num_nodes, places.num_cores) == (2, 8)


def test_a_single_node_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    places = placed(monkeypatch, node(16.0))
    assert (places.num_nodes, places.num_cores) == (1, 0)


def test_more_threads_than_the_largest_node_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="asks for 8 threads in one process, and the largest node .* has 4 CPUs"):
        placed(monkeypatch, node(4.0), node(2.0))
