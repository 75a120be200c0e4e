"""Named benchmarks: one for every claim about speed. Each prints a table and can write its figures as JSON."""

import importlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = ("invariance", "step", "unique", "ledger", "power", "scorer")


@dataclass(frozen=True)
class BenchSettings:
    """What every benchmark is told."""

    model_dir: Path
    dtype: str
    quick: bool


@dataclass(frozen=True)
class BenchResult:
    """A table and the figures behind it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: dict[str, Any]


def run_benchmark(name: str, out: Path | None, model: str, dtype: str, quick: bool) -> None:
    """Nothing; measures, prints, and writes JSON to `out`. Raises UserError for an unknown name."""
    from rl.cluster import ray_cluster
    from rl.durable import write_atomically
    from rl.errors import UserError
    from rl.models import MODEL_CACHE, resolve_model, resolved_dtype

    if name not in BENCHMARKS:
        raise UserError(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    model_dir = resolve_model(model, MODEL_CACHE, seed=0).resolve()
    settings = BenchSettings(model_dir, resolved_dtype(dtype), quick)
    with ray_cluster():
        result: BenchResult = importlib.import_module(f"rl.bench.{name}").measure(settings)
    print_table(result, settings)
    if out:
        described = {"benchmark": name, "model": model, "dtype": settings.dtype, "machine": machine(), **result.figures}
        write_atomically(out, json.dumps(described, indent=2) + "\n")


def print_table(result: BenchResult, settings: BenchSettings) -> None:
    """Nothing; prints the result."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result.title}\n{machine()}, {settings.dtype}", title_justify="left")
    for index, column in enumerate(result.columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in result.rows:
        table.add_row(*row)
    Console(width=110).print(table)


def machine() -> str:
    """The machine in a few words: cores, instruction set, processor."""
    from kernels.cpu_library import vector_isa

    return f"{os.cpu_count()} cores {platform.machine()} {vector_isa()}"
