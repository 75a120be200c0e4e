"""The tables of a packed layout, on the device that the kernels run on."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from kernels.attention import PackedLayout


@dataclass(frozen=True)
class DeviceLayout:
    """A `PackedLayout` as the kernels read it."""

    key_rows: torch.Tensor
    """(K,) int64, K being the sum of all sequences' keys: the rows that fill the KV cache, sequence after sequence."""
    slots: torch.Tensor
    """(K,) int64: the cache slot of each of `key_rows`."""
    block_table: torch.Tensor
    """(S, blocks) int32."""
    num_keys: torch.Tensor
    """(S,) int32."""
    query_starts: torch.Tensor
    """(S + 1,) int32."""
    sequences: torch.Tensor
    """(S, 5) int32: start, length, prefix_start, prefix_length, first of its `key_rows`."""
    uses: torch.Tensor
    """(K,) int32: indices into `key_rows`, row after row and within a row by sequence."""
    use_starts: torch.Tensor
    """(rows + 1,) int32: where the uses of each row begin."""
    num_blocks: int
    max_num_keys: int
    max_length: int


@lru_cache(maxsize=8)
def layout_on(layout: PackedLayout, device: torch.device) -> DeviceLayout:
    """The tables, copied once for all layers of a model and both passes."""
    uses, use_starts = _uses(layout)
    return DeviceLayout(
        layout.key_rows.to(device),
        layout.slots.to(device),
        layout.block_table.to(device),
        layout.num_keys.to(device),
        layout.query_starts.to(device),
        _sequence_table(layout).to(device),
        uses.to(device),
        use_starts.to(device),
        num_blocks=int(layout.num_blocks.sum()),
        max_num_keys=int(layout.num_keys.max()),
        max_length=max(sequence.length for sequence in layout.sequences),
    )


def _sequence_table(layout: PackedLayout) -> torch.Tensor:
    first_keys = layout.num_keys.cumsum(0) - layout.num_keys
    rows = [
        [s.start, s.length, s.prefix_start, s.prefix_length, int(first)]
        for s, first in zip(layout.sequences, first_keys, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.int32)


def _uses(layout: PackedLayout) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.argsort(layout.key_rows, stable=True)
    counts = torch.bincount(layout.key_rows, minlength=layout.num_rows)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    return order.to(torch.int32), starts.to(torch.int32)
