"""The report: what was found as markdown and as JSON, and the exit status."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from kernels.triton.check.findings import Bits, Ceilings, Certified, Error, Failure, Finding, Skipped, Timing
from kernels.triton.check.machine import Machine

T = TypeVar("T")
JSON_NAME, MARKDOWN_NAME = "gpu-check.json", "gpu-check.md"
BITS_DIFFER, FAILED = 3, 1
KINDS = (Certified, Bits, Error, Ceilings, Timing, Failure, Skipped)


@dataclass(frozen=True)
class Report:
    """A finished check."""

    machine: Machine
    findings: Sequence[Finding]
    seconds: float

    def of(self, kind: type[T]) -> list[T]:
        """The findings of one kind, in order."""
        return [finding for finding in self.findings if isinstance(finding, kind)]

    @property
    def broken(self) -> list[Bits | Certified]:
        """Where the guarantee does not hold."""
        refused: list[Bits | Certified] = [entry for entry in self.of(Certified) if entry.verdict == "refused"]
        return refused + [entry for entry in self.of(Bits) if entry.differ]

    @property
    def wrong(self) -> list[Error]:
        """Errors beyond their bound."""
        return [error for error in self.of(Error) if not error.holds]

    @property
    def status(self) -> int:
        """3 where bits differ; otherwise 1 where a part failed, an error is out of bounds, or nothing was compared."""
        if self.broken:
            return BITS_DIFFER
        is_well = self.of(Bits) and not self.wrong and not self.of(Failure)
        return 0 if is_well else FAILED

    @property
    def verdict(self) -> str:
        """One sentence."""
        compared, differ = sum(bits.compared for bits in self.of(Bits)), sum(bits.differ for bits in self.of(Bits))
        products = [entry.verdict for entry in self.of(Certified)]
        agreed, refused = products.count("both blocks agree"), products.count("refused")
        return (
            f"{compared:,} numbers compared, {differ:,} differ; "
            f"both blocks agree for {agreed} of {len(products)} products, {refused} refused; "
            f"{len(self.wrong)} of {len(self.of(Error))} errors out of bounds; "
            f"parts failed: {len(self.of(Failure))}, skipped: {len(self.of(Skipped))}."
        )


def write(report: Report, folder: Path) -> None:
    """Both files, into a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_NAME).write_text(json.dumps(as_json(report), indent=1) + "\n", "utf-8")
    (folder / MARKDOWN_NAME).write_text(markdown(report), "utf-8")


def as_json(report: Report) -> dict[str, object]:
    """What the JSON file holds: numbers in seconds, bytes and operations a second, `null` where one is not finite."""
    return {
        "status": report.status,
        "verdict": report.verdict,
        "seconds": report.seconds,
        "machine": asdict(report.machine),
        **{kind.__name__.lower(): [_finite(f) for f in report.findings if isinstance(f, kind)] for kind in KINDS},
    }


def markdown(report: Report) -> str:
    """The report for a reader."""
    sections = [
        f"# The canonical ops on {report.machine.device}\n\n{report.verdict} "
        f"{report.seconds:.0f} s, exit status {report.status}.",
        _table("Machine", ("", ""), [(name, str(value)) for name, value in asdict(report.machine).items()]),
        _table(
            "Certification", ("model", "weight", "N x K", "dtype", "verdict"), map(_certified, report.of(Certified))
        ),
        _table("Bits", ("op", "dtype", "case", "compared", "differ"), map(_bits, report.of(Bits))),
        _table("Errors against float64", ("op", "dtype", "of", "relative", "bound", ""), map(_error, report.of(Error))),
        *(
            f"Ceilings measured here: copy {found.bytes_per_s / 1e12:.3g} TB/s, "
            f"bf16 product {found.flops_per_s / 1e12:.4g} TFLOP/s."
            for found in report.of(Ceilings)
        ),
        _table(
            "Speed in bf16, caches flushed",
            ("op", "case", "rows", "us", "torch's", "us", "ratio", "of the roofline"),
            map(_timing, report.of(Timing)),
        ),
        _table("Failed", ("part", "error"), ((found.part, found.error) for found in report.of(Failure))),
        _table("Skipped", ("part", "why"), ((found.part, found.reason) for found in report.of(Skipped))),
        *(f"### {found.part}\n\n```\n{found.traceback.rstrip()}\n```" for found in report.of(Failure)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Nothing without rows."""
    body = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *body]
    return "\n".join(lines) if body else ""


def _certified(found: Certified) -> tuple[str, ...]:
    return found.model, found.weight, f"{found.num_columns} x {found.depth}", found.dtype, found.verdict


def _bits(found: Bits) -> tuple[str, ...]:
    return found.op, found.dtype, found.case, f"{found.compared:,}", f"{found.differ:,}"


def _error(found: Error) -> tuple[str, ...]:
    verdict = "" if found.holds else "OUT OF BOUNDS"
    return found.op, found.dtype, found.of, f"{found.relative:.2e}", f"{found.bound:.2e}", verdict


def _timing(found: Timing) -> tuple[str, ...]:
    times = f"{found.seconds * 1e6:.1f}", found.peer, f"{found.peer_s * 1e6:.1f}"
    return found.op, found.case, str(found.rows), *times, f"{found.ratio:.2f}", f"{found.roofline:.0%}"


def _finite(found: Finding) -> dict[str, object]:
    """Its fields; JSON knows no NaN."""
    return {
        name: None if isinstance(value, float) and not float("-inf") < value < float("inf") else value
        for name, value in asdict(found).items()
    }
