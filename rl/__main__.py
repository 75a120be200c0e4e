"""`zerokl`, and `python -m rl`: the command line in a process whose hash seed is fixed.

A task or a reward function that walks over a set then finds it in the same order every time a run is run again.
"""

import os
import sys

_HASH_SEED = "PYTHONHASHSEED"


def main() -> None:
    """Does not return: it becomes the command, in this process or in its own place with another environment."""
    if sys.flags.hash_randomization and os.environ.get(_HASH_SEED) != "0":
        os.environ[_HASH_SEED] = "0"  # Python reads it when it starts
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    from rl.cli import app

    app(prog_name="zerokl")


if __name__ == "__main__":
    main()
