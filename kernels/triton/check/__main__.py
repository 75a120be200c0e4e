"""`python -m kernels.triton.check [--out DIR] [--quick]`: the GPU at hand, in one report."""

import argparse
import importlib.util
import sys
from functools import partial
from pathlib import Path

NO_DEVICE = 2


def main() -> None:
    """Does not return. Exit status: 0 all holds, 3 bits differ, 1 a part failed or a result is wrong, 2 no device."""
    parser = argparse.ArgumentParser(prog="python -m kernels.triton.check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"), help="folder for the report")
    parser.add_argument("--quick", action="store_true", help="two minutes and bf16 alone instead of eight and both")
    chosen = parser.parse_args()
    if missing := what_is_missing():
        print(f"gpu-check: {missing}; nothing was measured. The same kernels run in Triton's interpreter: "
              "pytest tests/kernels/triton", file=sys.stderr)  # fmt: skip
        sys.exit(NO_DEVICE)
    sys.exit(run(chosen.out, chosen.quick))


def what_is_missing() -> str:
    """What a check needs and this machine has not, or nothing."""
    for library in ("torch", "triton"):
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed for {sys.executable}"
    import torch

    return "" if torch.cuda.is_available() else f"torch {torch.__version__} of {sys.executable} sees no CUDA device"


def run(out: Path, quick: bool) -> int:
    """Checks, prints and writes the report; returns the exit status."""
    from kernels.triton.check import report
    from kernels.triton.check.checks import check
    from kernels.triton.check.machine import this_machine
    from kernels.triton.check.parts import Log
    from kernels.triton.check.sizes import FULL, QUICK
    from kernels.triton.check.speed import cuda_clock

    sizes = QUICK if quick else FULL
    machine, log = this_machine(), Log(sizes.limit_s, say=partial(print, flush=True))
    log.say(str(machine))
    check(sizes, log, cuda_clock(sizes))
    found = report.Report(machine, log.entries, log.elapsed_s)
    report.write(found, out)
    print(f"\n{report.markdown(found)}\nwritten: {out / report.JSON_NAME}, {out / report.MARKDOWN_NAME}")
    return found.status


if __name__ == "__main__":
    main()
