"""Weights on their way from trainer to engines: arrays that Ray's object store hands over without copying."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class WeightArrays:
    """All weights of a policy. numpy has no bf16, so every tensor travels as its bytes."""

    dtype: str
    arrays: dict[str, np.ndarray]
    """Bytes of each tensor, row-major, uint8 (num_bytes,)."""
    shapes: dict[str, tuple[int, ...]]


def to_arrays(weights: dict[str, torch.Tensor]) -> WeightArrays:
    """The tensors as arrays that share their memory. All must have one dtype; raises ValueError otherwise."""
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()}
    if len(dtypes) != 1:
        raise ValueError(f"weights must have one dtype to be synchronized, got {sorted(dtypes)}")
    arrays = {name: t.detach().contiguous().flatten().view(torch.uint8).numpy() for name, t in weights.items()}
    return WeightArrays(dtypes.pop(), arrays, {name: tuple(t.shape) for name, t in weights.items()})


def from_arrays(message: WeightArrays) -> dict[str, torch.Tensor]:
    """The tensors again, read-only views of the object store."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return {
            name: torch.from_numpy(array).view(getattr(torch, message.dtype)).view(message.shapes[name])
            for name, array in message.arrays.items()
        }
