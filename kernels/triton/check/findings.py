"""What the parts of a check find, each a line of the report."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Certified:
    """What certification says of the two blocks of a product."""

    model: str
    weight: str
    num_columns: int
    depth: int
    dtype: str
    verdict: Literal["both blocks agree", "one block serves all", "refused"]
    """`refused`: rows do not keep their bits with either."""


@dataclass(frozen=True)
class Bits:
    """The same rows computed in other company."""

    op: str
    dtype: str
    case: str
    compared: int
    """Numbers."""
    differ: int
    """Of them, in any bit; a NaN always does, and memory that was never written is NaN."""


@dataclass(frozen=True)
class Error:
    """How far an op is from float64."""

    op: str
    dtype: str
    of: str
    """`forward`, or the tensor whose gradient it is."""
    relative: float
    """Norm of the difference over the norm of the float64 result."""
    bound: float

    @property
    def holds(self) -> bool:
        """False for NaN, too."""
        return self.relative <= self.bound


@dataclass(frozen=True)
class Ceilings:
    """What the device does at best, measured in the same run."""

    bytes_per_s: float
    """A large copy, bytes read and bytes written."""
    flops_per_s: float
    """A large bf16 matrix product."""

    def floor_s(self, num_bytes: float, flops: float) -> float:
        """No op that moves so many bytes and adds and multiplies so often is faster."""
        return max(num_bytes / self.bytes_per_s, flops / self.flops_per_s)


@dataclass(frozen=True)
class Timing:
    """Median device time of an op in bf16 and of what torch has for it."""

    op: str
    case: str
    rows: int
    seconds: float
    peer: str
    peer_s: float
    floor_s: float

    @property
    def roofline(self) -> float:
        """The share of the roofline that the op reaches, 1 at best."""
        return self.floor_s / self.seconds

    @property
    def ratio(self) -> float:
        """The op's time over its peer's."""
        return self.seconds / self.peer_s


@dataclass(frozen=True)
class Failure:
    """A part that raised."""

    part: str
    error: str
    """Type and message."""
    traceback: str


@dataclass(frozen=True)
class Skipped:
    """What was not done."""

    part: str
    reason: str


Finding = Certified | Bits | Error | Ceilings | Timing | Failure | Skipped
