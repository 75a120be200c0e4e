"""Part 1: the tiles of every weight's product, certified on this device."""

from collections.abc import Iterable, Iterator
from functools import partial

import torch

from kernels.certify import CertificationError
from kernels.triton.certify import certify_tiles
from kernels.triton.check.findings import Certified
from kernels.triton.check.parts import Part
from kernels.triton.check.sizes import DTYPE_NAMES, Model, Shape, Sizes
from kernels.triton.tiles import Tiles, choose_tiles


def parts(sizes: Sizes) -> Iterator[Part]:
    """A part for each weight of each model in each dtype."""
    for dtype in sizes.dtypes:
        for model in sizes.models:
            for weight in model.weights:
                name = f"certify {model.name} {weight} {DTYPE_NAMES[dtype]}"
                yield Part(name, partial(_certified, model, weight, dtype, sizes))


def tiles_for(shape: Shape, dtype: torch.dtype, certified: Iterable[Certified]) -> Tiles:
    """The certified tiles; one block for all rows where there are none."""
    tiles = choose_tiles(*shape, dtype)
    verdicts = {
        entry.verdict
        for entry in certified
        if (entry.num_columns, entry.depth) == shape and entry.dtype == DTYPE_NAMES[dtype]
    }
    return tiles if verdicts == {"both blocks agree"} else tiles.one_block


def _certified(model: Model, weight: str, dtype: torch.dtype, sizes: Sizes) -> list[Certified]:
    shape = model.weights[weight]
    found = partial(Certified, model.name, weight, *shape, DTYPE_NAMES[dtype])
    try:
        tiles = certify_tiles([shape], dtype, sizes.certified_counts, sizes.certified_rows)[shape]
    except CertificationError:
        return [found("refused")]
    return [found("both blocks agree" if tiles.few != tiles.many else "one block serves all")]
