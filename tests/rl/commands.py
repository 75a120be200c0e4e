"""Runs `zerokl` as a user does, in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from rl.cli import app

REPO = Path(__file__).parents[2]
CONFIG = REPO / "configs" / "tiny.yaml"


def zerokl(
    *arguments: object, cwd: Path, timeout_s: float = 900, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `zerokl *arguments` did."""
    command = [sys.executable, "-m", "rl", *map(str, arguments)]
    variables = outside(**(environment or {}))
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False, env=variables
    )


def refusal(*arguments: object, cwd: Path) -> str:
    """What `zerokl *arguments`, which has to end with status 2, says on stderr.

    It runs in this process: a command that refuses its input spends nearly all its time on imports.
    """
    with contextlib.chdir(cwd), mock.patch.dict(os.environ, outside(), clear=True), mock.patch("sys.path", [*sys.path]):
        handler = signal.getsignal(signal.SIGTERM)
        done = CliRunner().invoke(app, [*map(str, arguments)])
        signal.signal(signal.SIGTERM, handler)
    assert done.exit_code == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def outside(**variables: str) -> dict[str, str]:
    """An environment with the venv's commands on the path, and nothing of the Ray cluster of the test session."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "RAY_ADDRESS": "local"}
    return kept | own | variables


def final_hash(done: subprocess.CompletedProcess[str]) -> str:
    """The hash in the last line of a command that succeeded."""
    assert done.returncode == 0, done.stderr
    label, value = done.stdout.splitlines()[-1].split(": ")
    assert label == "final hash"
    return value


def ledger(run_dir: Path) -> list[dict]:
    """Its records."""
    return [json.loads(line) for line in (run_dir / "ledger.jsonl").read_text().splitlines()]
