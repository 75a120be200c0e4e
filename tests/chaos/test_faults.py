import collections
import pkgutil
from pathlib import Path

import psutil

from .campaign import read_accounts
from .driver import Orders
from .faults import STEPS, Fault, journeys, pairs, plan
from .stages import STAGES
from .victims import VICTIMS, role


def test_a_plan_follows_from_its_seed() -> None:
    assert plan(7, 40) == plan(7, 40) != plan(8, 40)


def test_forty_faults_leave_no_stage_and_no_victim_out() -> None:
    faults = plan(0, 40)
    assert {fault.stage for fault in faults} == set(STAGES)
    assert {fault.victim for fault in faults} == set(VICTIMS)


def test_each_pair_comes_once_before_any_comes_twice() -> None:
    faults = plan(1, len(pairs()))
    assert collections.Counter((fault.stage, fault.victim) for fault in faults) == dict.fromkeys(pairs(), 1)


def test_every_stage_is_in_the_product() -> None:
    for stage in STAGES.values():
        assert callable(pkgutil.resolve_name(stage.function)), stage.name


def test_a_fault_in_a_stage_that_follows_upon_a_loss_brings_the_loss_with_it() -> None:
    (group,) = journeys([Fault("restore", "trainer rank", 0.0, step=0), Fault("score", "driver", 0.0, step=0)], 4)
    assert [fault.victim for fault in group] == ["trainer rank", "driver", "driver"]
    assert group[2].step == STEPS - 2 and not STAGES[group[2].stage].follows


def test_orders_come_back_as_they_were_written(tmp_path: Path) -> None:
    orders = Orders(tuple(plan(3, 5)), tmp_path / "ledger.jsonl", tmp_path / "struck")
    orders.write(tmp_path / "orders.json")
    assert Orders.read(tmp_path / "orders.json") == orders
    assert orders.have_struck() == []
    (tmp_path / "struck").write_text("3\n1\n")
    assert orders.have_struck() == [3, 1]


def test_a_process_of_no_run_has_the_role_of_its_own_name() -> None:
    assert role(psutil.Process()) == psutil.Process().name()


def test_the_account_of_a_run_is_told_from_its_orders(tmp_path: Path) -> None:
    (tmp_path / "journey-000.json").write_text('{"name": "journey-000"}')
    (tmp_path / "journey-000.orders.json").write_text('{"struck": "a path"}')
    assert read_accounts(tmp_path) == [{"name": "journey-000"}]
