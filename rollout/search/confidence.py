"""How sure a trace is of itself (Fu et al., "Deep Think with Confidence", arXiv 2508.15260, section 3.1).

token confidence   C_t = minus the mean log-probability of the k likeliest tokens at t; high where the policy is sure
group confidence   mean of C_t over a sliding window of w tokens; a trace shorter than w is one group
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

FULL_WINDOW = 2048
"""The paper's, for traces of some ten thousand tokens."""
WINDOWS_IN_A_TRACE = 16
BOTTOM_SHARE = 0.1


def scaled_window(max_new_tokens: int) -> int:
    """The paper's window, and a sixteenth of the longest trace where that is shorter; at least 1 token."""
    return max(1, min(FULL_WINDOW, max_new_tokens // WINDOWS_IN_A_TRACE))


def group_confidences(confidences: Sequence[float], window: int) -> npt.NDArray[np.float64]:
    """The mean of every full window in order of their ends, (T - window + 1,); a shorter trace has the mean of all.

    Those of a trace are the first of any longer trace that begins with it. Raises ValueError for an empty trace.
    """
    if not confidences:
        raise ValueError("a trace without tokens has no confidence")
    width = min(window, len(confidences))
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(confidences, dtype=np.float64))])
    means: npt.NDArray[np.float64] = (sums[width:] - sums[:-width]) / width
    return means


def mean_confidence(confidences: Sequence[float], window: int) -> float:
    """Over the whole trace."""
    return float(np.mean(confidences))


def lowest_group(confidences: Sequence[float], window: int) -> float:
    """The least sure group."""
    return float(group_confidences(confidences, window).min())


def bottom_groups(confidences: Sequence[float], window: int) -> float:
    """The mean of the least sure tenth of the groups, of one at least."""
    groups = np.sort(group_confidences(confidences, window))
    return float(groups[: max(1, int(BOTTOM_SHARE * len(groups)))].mean())


def tail_confidence(confidences: Sequence[float], window: int) -> float:
    """The mean of the last window."""
    return float(np.mean(confidences[-window:]))


MEASURES: dict[str, Callable[[Sequence[float], int], float]] = {
    "mean": mean_confidence,
    "lowest_group": lowest_group,
    "bottom_groups": bottom_groups,
    "tail": tail_confidence,
}
"""A trace's confidence by name, from its token confidences and the window."""


def first_below(confidences: Sequence[float], window: int, threshold: float) -> int | None:
    """How many tokens of the trace there were when a full window first came below `threshold`; None if none did."""
    if len(confidences) < window:
        return None
    below = np.flatnonzero(group_confidences(confidences, window) < threshold)
    return int(below[0]) + window if len(below) else None
