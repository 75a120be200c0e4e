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
                    before = [name.replace(f".{part}.", f".{other}.") for other in parts[:index]]
                    return self._take(home, sum(self._num_rows(other) for other in before), name)
        raise ValueError(f"the engine has no parameter for {name}; is it the same model as the trainer's?")

    def _num_rows(self, name: str) -> int:
        if name not in self._weights:
            raise ValueError(f"the trainer sent no {name}, whose rows the engine holds beside others")
        return self._weights[name].shape[0]

    def _take(self, home: str, start: int, name: str) -> torch.Tensor:
        """Rows from `start` on; vLLM pads vocabularies, so a parameter may be longer than its tensor."""
        rows = self._num_rows(name)
        view = self._parameters[home].data[start : start + rows]
        if view.shape != self._weights[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(self._weights[name].shape)}, its place in the engine {tuple(view.shape)}; "
                "is it the same model as the trainer's?"
            )
        self._used[home] = self._used.get(home, 0) + rows
        return view

    def _require_all_covered(self) -> None:
        missing = [name for name in self._parameters if not self._is_covered(name)]
        if missing:
            raise ValueError(f"the trainer sent no weights for {', '.join(sorted(missing)[:5])} of the engine's model")

    def _is_covered(self, name: str) -> bool:
        """True when tensors fill the parameter; only a padded one, which has a name of its own, may be longer."""
        return name in self._weights or self._used.get(name) == self._parameters[name].shape[0]
