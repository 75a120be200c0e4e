"""Digests of weights, the same on both sides whatever the layout a side holds them in."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def tensor_digest(tensor: torch.Tensor) -> str:
    """sha256 hex over the bytes of a tensor, row-major, in its own dtype."""
    flat = tensor.detach().contiguous().flatten()
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """sha256 hex over name, dtype, shape and bytes of every tensor, names sorted: one flipped bit changes it.

    Tensors are hashed in parallel (sha256 lets go of the interpreter lock) and their digests hashed together.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        digests = dict(zip(weights, threads.map(tensor_digest, weights.values()), strict=True))
    entries = [[name, str(weights[name].dtype), list(weights[name].shape), digests[name]] for name in sorted(weights)]
    return hashlib.sha256(json.dumps(entries, separators=(",", ":")).encode()).hexdigest()


def combined_digest(digests: Sequence[str]) -> str:
    """The digest of several things in order; of a single one its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
