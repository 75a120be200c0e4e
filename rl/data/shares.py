"""Whose turn it is in a mixture: the source of every position, and the position within it, in closed form.

Each source in its turn takes its share of the positions that those before it left, spread evenly: of the first n it
takes floor(n * share + offset), and the rest pass on. So after any number of prompts each source is within as many
prompts of its share as there are sources, and where a run stands in each follows from the cursor alone.
"""

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction


class Shares:
    """Sources by weight. The seed shifts the pattern, so that two runs do not begin alike."""

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        """`weights` are above 0; only their proportions matter."""
        # From its decimal form, so that 0.1 is a tenth and equal proportions are equal.
        exact = [Fraction(str(weight)) for weight in weights]
        self._shares = [weight / sum(exact[place:]) for place, weight in enumerate(exact)]
        self._offsets = [_offset(seed, place) for place in range(len(exact))]

    def counts(self, num: int) -> list[int]:
        """How many of the first `num` positions each source has."""
        counts = []
        for share, offset in zip(self._shares, self._offsets, strict=True):
            counts.append(math.floor(num * share + offset))
            num -= counts[-1]
        return counts

    def locate(self, position: int) -> tuple[int, int]:
        """The source of `position`, by its place in `weights`, and the position within that source."""
        before, after = self.counts(position), self.counts(position + 1)
        place = next(place for place, count in enumerate(after) if count > before[place])
        return place, before[place]


def _offset(seed: int, place: int) -> Fraction:
    """From 0 up to but not 1."""
    digest = hashlib.sha256(f"{seed}/shares/{place}".encode()).digest()
    return Fraction(int.from_bytes(digest[:8], "big"), 2**64)
