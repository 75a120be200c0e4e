"""All parts in order."""

import importlib.util
from collections.abc import Iterator

from kernels.triton.check import accuracy, bits, certification, speed
from kernels.triton.check.findings import Ceilings, Certified, Skipped
from kernels.triton.check.parts import Log, Part
from kernels.triton.check.sizes import Sizes
from kernels.triton.check.speed import Clock


def check(sizes: Sizes, log: Log, clock: Clock) -> None:
    """Does all parts. No stage begins one after its share of the time, so that each gets some."""
    log.entries.extend(not_covered())
    log.run(certification.parts(sizes), share=0.35)
    certified = log.of(Certified)
    log.run(bits.parts(sizes, certified), share=0.6)
    log.run(accuracy.parts(sizes, certified), share=0.75)
    log.run([Part("ceilings", lambda: speed.ceilings(sizes, clock))])
    for measured in log.of(Ceilings):
        log.run(speed.parts(sizes, certified, clock, measured))
    if not log.of(Ceilings):
        log.entries.append(Skipped("speed", "the ceilings of the device could not be measured"))


def not_covered() -> Iterator[Skipped]:
    """What this check cannot do on any GPU, and what it would need besides."""
    for part, library in (("engine: parity with vLLM, its speed", "vllm"), ("a whole model", "transformers")):
        missing = "" if importlib.util.find_spec(library) else f"; {library} is not installed either"
        yield Skipped(part, f"nothing puts these ops under it on CUDA{missing}")
