"""How deep one forward pass goes."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Depth:
    """How often the core is run, and through how many of the runs a gradient flows. Both at least 1."""

    num_recurrences: int
    num_backpropagated: int | None = None
    """The last so many; None is all of them. It changes no log-probability."""

    def __post_init__(self) -> None:
        if self.num_recurrences < 1:
            raise ValueError(f"num_recurrences must be at least 1, got {self.num_recurrences}")
        if self.num_backpropagated is not None and self.num_backpropagated < 1:
            raise ValueError(
                f"num_backpropagated must be at least 1, or None for all recurrences, got {self.num_backpropagated}"
            )

    @property
    def num_detached(self) -> int:
        """Runs of the core, the first ones, that no gradient reaches."""
        return 0 if self.num_backpropagated is None else max(0, self.num_recurrences - self.num_backpropagated)

    def arguments(self) -> dict[str, int]:
        """What says so to the model's forward pass, for which None would be what its config says."""
        return {
            "num_recurrences": self.num_recurrences,
            "num_backpropagated": self.num_recurrences - self.num_detached,
        }


def recurrence_of(config: Any) -> int | None:
    """How often a model with this Hugging Face config runs its core; None where it has none that is run again."""
    value: int | None = getattr(config.get_text_config(), "num_recurrences", None)
    return value


def note_trained(config: Any) -> None:
    """Nothing; a config that says between which recurrences its model was trained counts its own among them."""
    text, recurrence = config.get_text_config(), recurrence_of(config)
    if recurrence is not None and text.trained_recurrences:
        low, high = text.trained_recurrences
        text.trained_recurrences = [min(low, recurrence), max(high, recurrence)]
