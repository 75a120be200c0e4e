"""What a script of this folder that compiles kernels says is in them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SHARED_BYTES = 99 * 1024
"""What a block may have on the smallest of the recent cards."""


def report_of(script, cache):
    """By kernel: `instructions` and `shared_bytes`, compiled for compute capability 9.0. cache: a folder for Triton."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(cache)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, Path(__file__).with_name(script), "90"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found(report, name, pattern):
    """The instructions of a kernel that begin with `pattern`."""
    return [instruction for instruction in report[name]["instructions"] if re.match(pattern, instruction)]
