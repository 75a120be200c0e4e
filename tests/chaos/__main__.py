"""`python -m tests.chaos faults|matrix|soak`: the long forms, whose tables stand in docs/faults.md."""

import argparse
import sys
from pathlib import Path

from .campaign import run_campaign
from .matrix import run_matrix
from .soak import run_soak


def main() -> None:
    """Does not return; exit status 1 where something did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    faults = commands.add_parser("faults", help="runs under seeded faults, each compared with one that nobody disturbs")
    faults.add_argument("--seed", type=int, default=0)
    faults.add_argument("--faults", type=int, default=40, help="faults in all")
    faults.add_argument("--at-most", type=int, help="keep the runs that are there, and make so many of the others")
    matrix = commands.add_parser("matrix", help="ranks, ZeRO stages, actors and engine settings against each other")
    matrix.add_argument("--full", action="store_true", help="every combination, not every pair of settings")
    matrix.add_argument("--at-most", type=int, help="keep the runs that are there, and make so many of the others")
    soak = commands.add_parser("soak", help="a long run, its processes watched from outside")
    soak.add_argument("--steps", type=int, default=300)
    for name, command in commands.choices.items():
        command.add_argument("--out", type=Path, default=Path("runs/chaos") / name)
    chosen = parser.parse_args()
    out = chosen.out.resolve()
    if chosen.command == "faults":
        is_well = run_campaign(out, chosen.seed, chosen.faults, chosen.at_most)
    elif chosen.command == "matrix":
        is_well = run_matrix(out, chosen.full, chosen.at_most)
    else:
        is_well = run_soak(out, chosen.steps)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
