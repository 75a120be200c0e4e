"""Where the time of a step goes."""

import time


class Clock:
    """Seconds from lap to lap."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.laps_s: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Nothing; the time since the last lap was spent on `name`, beside what it has had before."""
        now = time.perf_counter()
        self.laps_s[name] = self.laps_s.get(name, 0.0) + now - self._last
        self._last = now

    @property
    def total_s(self) -> float:
        return sum(self.laps_s.values())
