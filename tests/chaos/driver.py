"""`python -m tests.chaos.driver ORDERS.json -- train CONFIG …`: the command line of zerokl, under faults.

The product knows nothing of it: functions that are the stages of a run are wrapped in this process before the command
begins, and a fault strikes a process by its pid while one of them runs. What has struck is noted before it strikes, so
that the next attempt at the run is spared it.
"""

import functools
import json
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from .faults import Fault
from .stages import STAGES, Stage, records_in
from .victims import VICTIMS

START_S = 120.0
"""What a process may take to come up, less than in the product, so that one that is stuck is found sooner."""


@dataclass(frozen=True)
class Orders:
    """What is to happen to one run; the file is shared by all attempts at it."""

    faults: tuple[Fault, ...]
    ledger: Path
    struck: Path
    """A line for each fault that has struck: its place in `faults`."""

    def write(self, path: Path) -> None:
        """Nothing; `read` gives it back."""
        faults = [asdict(fault) for fault in self.faults]
        path.write_text(json.dumps({"faults": faults, "ledger": str(self.ledger), "struck": str(self.struck)}))

    @classmethod
    def read(cls, path: Path) -> "Orders":
        """The orders in `path`."""
        read = json.loads(path.read_text())
        return cls(tuple(Fault(**fault) for fault in read["faults"]), Path(read["ledger"]), Path(read["struck"]))

    def have_struck(self) -> list[int]:
        """Places in `faults`, in the order in which they struck."""
        return [int(line) for line in self.struck.read_text().split()] if self.struck.exists() else []


class Injector:
    """Wraps the stages of a run in this process."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._waiting = set(range(len(orders.faults))) - set(orders.have_struck())
        self._lock = threading.Lock()
        self._driver = psutil.Process()

    def arm(self) -> None:
        """Nothing; from here on the faults that have not struck yet wait for their stages."""
        for name in {self._orders.faults[place].stage for place in self._waiting}:
            self._wrap(STAGES[name])

    def _wrap(self, stage: Stage) -> None:
        where, _, attribute = stage.function.rpartition("." if "." in stage.function.partition(":")[2] else ":")
        owner = pkgutil.resolve_name(where)
        original: Callable[..., Any] = getattr(owner, attribute)

        @functools.wraps(original)
        def staged(*args: Any, **kwargs: Any) -> Any:
            place = self._take(stage) if stage.is_this(*args, **kwargs) else None
            if place is None:
                return original(*args, **kwargs)
            with self._under(place, stage):
                return original(*args, **kwargs)

        setattr(owner, attribute, staged)

    def _take(self, stage: Stage) -> int | None:
        """The place of a fault that is due in this stage; nobody else gets it."""
        records = records_in(self._orders.ledger)
        with self._lock:
            for place in sorted(self._waiting):
                fault = self._orders.faults[place]
                if fault.stage == stage.name and records >= fault.step:
                    self._waiting.remove(place)
                    return place
        return None

    @contextmanager
    def _under(self, place: int, stage: Stage) -> Iterator[None]:
        ended = threading.Event()
        striker = threading.Thread(target=self._strike, args=(place, stage, ended), daemon=True)
        striker.start()
        if self._orders.faults[place].moment == 0:
            striker.join()
        try:
            yield
        finally:
            ended.set()
            striker.join()

    def _strike(self, place: int, stage: Stage, ended: threading.Event) -> None:
        fault = self._orders.faults[place]
        ended.wait(None if fault.moment == 1 else fault.moment * stage.usual_s)
        victim = VICTIMS[fault.victim]
        while not victim.find(self._driver):
            if fault.moment == 0 or ended.wait(0.01):
                self._waiting.add(place)  # nobody to strike: another time
                return
        with self._orders.struck.open("a") as file:
            file.write(f"{place}\n")
        victim.strike(self._driver, fault.draw)


def main() -> None:
    """Does not return."""
    orders, dashes, *arguments = sys.argv[1:]
    assert dashes == "--", "ORDERS.json -- COMMAND …"
    Injector(Orders.read(Path(orders))).arm()
    from rl.cli import app
    from rollout import deadlines

    deadlines.START_S = START_S

    app(arguments, prog_name="zerokl")


if __name__ == "__main__":
    main()
