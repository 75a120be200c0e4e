"""What is measured on the way."""

from collections.abc import Mapping
from typing import Any, Protocol


class Evaluation(Protocol):
    """Figures of the model, before the first step and after the last. A frozen dataclass: it travels to the ranks."""

    @property
    def every(self) -> int:
        """Also after every so many steps; 0 only before and after."""

    @property
    def headline(self) -> str:
        """The key of the figure that stands in the line of a step."""

    @property
    def num_tokens(self) -> int:
        """Read in one measurement, all forward passes together: what its deadline goes by."""

    def measure(self, model: Any) -> Mapping[str, float]:
        """Finite figures by `area/name`, one or more. No gradients; the weights are whole and packed."""
