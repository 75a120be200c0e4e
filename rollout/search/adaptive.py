"""How much sampling a question needs (Park et al., "Know What You Don't Know", arXiv 2506.09338, section 5).

Of N independent completions, each right with probability p, one at least is right with probability 1 - (1 - p)^N. So
for a chance of C there must be N(p, C) = ceil(log(1 - C) / log(1 - p)) of them. p is not known; taken is a quantile
that it hardly lies below, so that a question with an uncertain estimate gets more.
"""

import math

from rollout.search.checks import require


def samples_needed(success: float, confidence: float, most: int) -> int:
    """N(p, C), at least 1 and at most `most`.

    success: p, from 0 to 1; at 0 no number is enough, and it is `most`.

    >>> [samples_needed(p, 0.99, 64) for p in (0.0, 0.05, 0.1, 0.5, 0.9, 1.0)]
    [64, 64, 44, 7, 2, 1]
    """
    return draws_needed(math.log1p(-confidence), log_failure(success), most)


def draws_needed(wanted: float, each: float, most: int) -> int:
    """The fewest draws after which the log-probability that all are wrong is `wanted` or less: from 1 to `most`.

    each: the log-probability that one is wrong, from minus infinity to 0.
    """
    if wanted >= 0 or math.isinf(each):
        return 1
    needed = wanted / each if each < 0 else math.inf
    return most if needed >= most else max(1, math.ceil(needed))


def log_failure(success: float) -> float:
    """log(1 - p): that one completion is wrong; minus infinity at 1."""
    return math.log1p(-success) if success < 1 else -math.inf


def require_confidence(confidence: float) -> None:
    """Nothing; raises ValueError unless it is above 0 and below 1."""
    require(0 < confidence < 1, "confidence", "above 0 and below 1", confidence)
