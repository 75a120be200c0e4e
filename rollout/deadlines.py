"""How long a call to another process may take, from the work asked for. A process that needs longer is taken for dead.

The rates are a tenth or less of what the slowest machine does that is of any use; a deadline that is too long costs
patience, one that is too short costs a restart and changes no result.
"""

import json
from dataclasses import dataclass
from pathlib import Path

START_S = 180.0
"""For a process to come up: imports, process groups, the certification of the linear."""
FLOPS = 5e9
"""Floating-point operations a second."""
BYTES_PER_S = 20e6
"""Read, written, hashed or sent."""
WEIGHT_SUFFIXES = (".safetensors", ".bin")


@dataclass(frozen=True)
class Deadlines:
    """Seconds by the kind of work, for one model."""

    least_s: float
    """What every call may take, before what its work is allowed comes on top."""
    model_bytes: int = 0
    num_runs: int = 1
    """How often a token meets a weight, at most: the recurrence of a recurrent-depth model."""

    def start_s(self) -> float:
        """To start a process and read the model."""
        return START_S + self.move_s()

    def move_s(self, copies: float = 1.0) -> float:
        """To read, write, hash or send `copies` times the bytes of the model."""
        return self.least_s + copies * self.model_bytes / BYTES_PER_S

    def sample_s(self, num_tokens: int) -> float:
        """For an engine to read or sample so many tokens: 2 operations a weight that a token meets."""
        return self.least_s + num_tokens * 2 * self._num_weights() / FLOPS

    def train_s(self, num_tokens: int) -> float:
        """To train on so many tokens, and to update and hash the weights.

        10 operations a weight and token: forward 2, backward 4, a forward again for recomputed activations and one for
        a reference model.
        """
        return self.move_s(copies=16) + num_tokens * 10 * self._num_weights() / FLOPS

    def _num_weights(self) -> float:
        """Those that a token meets, each as often as it does."""
        return self.num_runs * self.model_bytes / 2  # of two bytes each; of four it is twice as many as there are


def deadlines_of(least_s: float, model_dir: str | Path) -> Deadlines:
    """The deadlines of work on the checkpoint in `model_dir`."""
    path = Path(model_dir) / "config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return Deadlines(least_s, model_bytes(model_dir), config.get("num_recurrences", 1))


def model_bytes(model_dir: str | Path) -> int:
    """Bytes of the weights in a checkpoint folder."""
    return sum(file.stat().st_size for file in Path(model_dir).glob("*") if file.suffix in WEIGHT_SUFFIXES)
