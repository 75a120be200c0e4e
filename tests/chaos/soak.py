"""The soak: a long run, watched from outside for what it might never give back.

Once a second: resident memory and open file descriptors of every process of the run, and the objects in Ray's store.
The first third of the run may fill caches. Over the rest
    memory       the Theil-Sen line through a process's samples rises by at most MIB_PER_100_STEPS
    descriptors  a process has no more at the end (least of the last tenth) than at the start (most of the first)
    objects      the store holds no more at the end than at the start, likewise
"""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from scipy.stats import theilslopes

from .journey import MARK, REPO, clear_away, environment
from .stages import records_in
from .table import show, write_json
from .victims import processes_below, role

CONFIG = REPO / "configs" / "tiny.yaml"
MIB_PER_100_STEPS = 4.0
EVERY_S = 1.0
OVERRIDES = ("rollout.num_actors=2", "trainer.world_size=2", "checkpoint.every=50", "evaluation.every=50")
_DUMP_EVERY_MS = "1000"


@dataclass(frozen=True)
class Sample:
    """One process at one time."""

    step: int
    """Records in the ledger."""
    pid: int
    role: str
    rss_mib: float
    num_fds: int


@dataclass(frozen=True)
class StoreSample:
    """Ray's object store at one time."""

    step: int
    num_objects: int


@dataclass(frozen=True)
class Trend:
    """A process over the last two thirds of a run."""

    role: str
    pid: int
    rss_mib: float
    """At the end."""
    mib_per_100_steps: float
    fds_before: int
    """Most of the first tenth."""
    fds_after: int
    """Least of the last tenth."""

    @property
    def is_flat(self) -> bool:
        return self.mib_per_100_steps <= MIB_PER_100_STEPS and self.fds_after <= self.fds_before


def run_soak(out: Path, steps: int) -> bool:
    """Whether the run ended well and nothing grew."""
    out.mkdir(parents=True, exist_ok=True)
    status, samples, store = watch(out, steps)
    during = range(steps // 3, steps)  # not the end, when processes go
    trends = [trend(own) for own in _by_process([s for s in samples if s.step in during]) if _is_seen(own, steps)]
    objects = store_trend([sample for sample in store if sample.step in during])
    _show(trends, objects, steps)
    write_json(out / "soak.json", {"status": status, "trends": [asdict(t) for t in trends], "objects": objects})
    write_json(out / "samples.json", {"processes": [asdict(s) for s in samples], "store": [asdict(s) for s in store]})
    return status == 0 and bool(trends) and all(t.is_flat for t in trends) and objects[1] <= objects[0]


def watch(out: Path, steps: int) -> tuple[int, list[Sample], list[StoreSample]]:
    """Exit status of a run of so many steps, and what was seen while it went on."""
    mark = f"soak-{time.time_ns()}"
    run_dir = out / f"run-{time.strftime('%Y%m%d-%H%M%S')}"
    variables = {MARK: mark, "RAY_debug_dump_period_milliseconds": _DUMP_EVERY_MS}
    command = ["-m", "rl", "train", str(CONFIG), f"run.dir={run_dir}", f"steps={steps}", *OVERRIDES]
    samples: list[Sample] = []
    store: list[StoreSample] = []
    with (out / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=out, env=environment(variables), stdout=output, stderr=output
        )
        while process.poll() is None:
            step = records_in(run_dir / "ledger.jsonl")
            samples += look(step, psutil.Process(process.pid))
            store += look_at_store(step, psutil.Process(process.pid))
            time.sleep(EVERY_S)
    clear_away(mark)
    return process.returncode, samples, store


def look(step: int, driver: psutil.Process) -> list[Sample]:
    """Every process of a run as it is now."""
    seen = []
    for process in [driver, *processes_below(driver)]:
        with contextlib.suppress(psutil.Error):
            name = "driver" if process == driver else role(process)
            rss_mib = round(process.memory_info().rss / 2**20, 2)
            seen.append(Sample(step, process.pid, name, rss_mib, process.num_fds()))
    return seen


def look_at_store(step: int, driver: psutil.Process) -> list[StoreSample]:
    """What the raylet below `driver` last wrote about its objects; empty before it has."""
    with contextlib.suppress(psutil.Error, OSError):
        command = next((" ".join(p.cmdline()) for p in processes_below(driver) if role(p) == "raylet"), "")
        if session := re.search(r"/\S*?/session_[\d_-]+", command):
            state = (Path(session[0]) / "logs" / "debug_state.txt").read_text()
            return [StoreSample(step, int(n)) for n in re.findall(r"num local plasma objects: (\d+)", state)]
    return []


def trend(samples: Sequence[Sample]) -> Trend:
    """That of one process's samples."""
    tenth = max(1, len(samples) // 10)
    with np.errstate(invalid="ignore"):  # of its confidence interval, which nobody asked for
        slope = theilslopes([sample.rss_mib for sample in samples], [sample.step for sample in samples]).slope
    return Trend(
        samples[-1].role,
        samples[-1].pid,
        samples[-1].rss_mib,
        round(100 * float(slope), 2),
        max(sample.num_fds for sample in samples[:tenth]),
        min(sample.num_fds for sample in samples[-tenth:]),
    )


def store_trend(samples: Sequence[StoreSample]) -> tuple[int, int]:
    """Most objects in the first tenth of the samples, least in the last."""
    tenth = max(1, len(samples) // 10)
    return max(s.num_objects for s in samples[:tenth]), min(s.num_objects for s in samples[-tenth:])


def _by_process(samples: Sequence[Sample]) -> list[list[Sample]]:
    pids = dict.fromkeys(sample.pid for sample in samples)
    return [[sample for sample in samples if sample.pid == pid] for pid in pids]


def _is_seen(own: Sequence[Sample], steps: int) -> bool:
    return own[-1].step - own[0].step >= steps // 2


def _show(trends: Sequence[Trend], objects: tuple[int, int], steps: int) -> None:
    columns = ("process", "MiB at the end", "MiB per 100 steps", "descriptors, from", "to", "flat")
    rows = [
        (t.role, f"{t.rss_mib:.0f}", f"{t.mib_per_100_steps:+.2f}", t.fds_before, t.fds_after, _yes_or_no(t.is_flat))
        for t in sorted(trends, key=lambda t: (t.role, t.pid))
    ]
    show(f"Steps {steps // 3} to {steps} of {steps}", columns, rows)
    print(f"objects in Ray's store: at most {objects[0]} at the start, at least {objects[1]} at the end")


def _yes_or_no(is_so: bool) -> str:
    return "yes" if is_so else "NO"
