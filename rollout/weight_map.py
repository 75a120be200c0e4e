"""Where each tensor of the trainer lives inside the engine's model, which merges projections that read one input."""

from collections.abc import Mapping

import torch
from torch import nn


class WeightMap:
    """`tensors`: a view into the engine's parameters for each name of the trainer's, with the trainer's shape.

    Raises ValueError for a name without a home, and for engine parameters that no name covers.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, torch.Tensor]):
        self._parameters = dict(model.named_parameters())
        self._merged = dict(getattr(model, "packed_modules_mapping", {}))
        self._used: dict[str, int] = {}
        self._weights = weights
        self.tensors = {name: self._locate(name) for name in weights}
        self._require_all_covered()

    def _locate(self, name: str) -> torch.Tensor:
        if name in self._parameters:
            return self._take(name, 0, name)
        for merged, parts in self._merged.items():
            for index, part in enumerate(parts):
                home = name.replace(f".{part}.", f".{merged}.")
                if home != name and home in self._parameters:
                    earlier = [name.replace(f".{part}.", f".{other}.") for other in parts[:index]]
                    return self._take(home, sum(self._weights[other].shape[0] for other in earlier), name)
        raise ValueError(f"the engine has no parameter for {name}; is it the same model as the trainer's?")

    def _take(self, home: str, start: int, name: str) -> torch.Tensor:
        """Rows from `start` on; vLLM pads vocabularies, so a parameter may be longer than its tensor."""
        rows = self._weights[name].shape[0]
        self._used[home] = self._used.get(home, 0) + rows
        return self._parameters[home].data[start : start + rows]

    def _require_all_covered(self) -> None:
        missing = [name for name in self._parameters if name not in self._used]
        if missing:
            raise ValueError(f"the trainer sent no weights for {', '.join(sorted(missing)[:5])} of the engine's model")
