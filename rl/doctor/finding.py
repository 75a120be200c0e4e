"""What a check has to say: one line of the doctor's table."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    """A run works, though not as well or not as meant."""
    MEND = "mend"
    """A run would fail, hang or not be exact."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    found: str
    verdict: Verdict = Verdict.OK
    remedy: str = ""
    """What to do; empty only where all is well."""

    def __post_init__(self) -> None:
        assert self.remedy or self.verdict is Verdict.OK, f"{self.subject}: a {self.verdict} without a remedy"


def warn(subject: str, found: str, remedy: str) -> Finding:
    """A finding that a run can live with."""
    return Finding(subject, found, Verdict.WARN, remedy)


def mend(subject: str, found: str, remedy: str) -> Finding:
    """A finding that has to be seen to."""
    return Finding(subject, found, Verdict.MEND, remedy)


def refused(subject: str, message: str, otherwise: str) -> Finding:
    """An error message as a finding. It is written as `what is wrong; what to do`; else the remedy is `otherwise`."""
    found, _, remedy = message.rpartition("; ")
    return mend(subject, found or message, remedy if found else otherwise)
