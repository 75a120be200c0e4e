"""The process that a command runs in."""

import subprocess
import sys

PROBE = """
import runpy, sys, typer
import rl.cli
rl.cli.app = lambda prog_name: print(prog_name, sys.flags.hash_randomization, hash("a string"))
runpy.run_module("rl", run_name="__main__")
"""


def _probe(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, env={"PATH": "", **environment}
    )
    return done.stdout


def test_strings_hash_the_same_in_every_process_of_a_command():
    assert _probe() == _probe(PYTHONHASHSEED="7") == _probe(PYTHONHASHSEED="0")
    assert _probe().startswith("zerokl 0 ")
