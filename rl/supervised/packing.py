"""Examples as forward passes of bounded size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from kernels.attention import PackedLayout
from kernels.attention import Sequence as PackedSequence
from rl.supervised.objective import Example

ExampleT = TypeVar("ExampleT", bound=Example)


@dataclass(frozen=True)
class Packed:
    """Sequences one behind the other, as `kernels.seam.hidden_states` reads them."""

    token_ids: torch.Tensor
    """(rows,) int64."""
    layout: PackedLayout
    starts: tuple[int, ...]
    """The first row of each sequence."""


def pack(sequences: Sequence[Sequence[int]]) -> Packed:
    """The sequences of token ids, none of them empty, as one forward pass."""
    starts, num_rows = [], 0
    for tokens in sequences:
        starts.append(num_rows)
        num_rows += len(tokens)
    layout = PackedLayout(
        tuple(PackedSequence(start, len(tokens)) for start, tokens in zip(starts, sequences, strict=True))
    )
    return Packed(torch.tensor([token for tokens in sequences for token in tokens]), layout, tuple(starts))


def micro_batches(examples: Sequence[ExampleT], max_tokens: int) -> list[tuple[ExampleT, ...]]:
    """The examples in order, in runs of at most `max_tokens` tokens; a longer example is a run of its own."""
    runs: list[list[ExampleT]] = []
    room = 0
    for example in examples:
        room -= len(example.token_ids)
        if not runs or room < 0:
            runs.append([])
            room = max_tokens - len(example.token_ids)
        runs[-1].append(example)
    return [tuple(run) for run in runs]
