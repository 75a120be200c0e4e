"""Packs token sequences for forward passes: what sequences begin with alike is computed once, nothing is padded.

    rows   [ question | solution 0 | solution 1 | … | next question | … ]

A sequence is split behind its first place, the end of the question. No bit of a row depends on what else is packed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels.attention import PackedLayout
from kernels.attention import Sequence as PackedSequence
from reward.prm.steps import StepInput


@dataclass(frozen=True)
class Pack:
    """One forward pass over some of the sequences."""

    token_ids: torch.Tensor
    """(N,) int64."""
    layout: PackedLayout
    rows: torch.Tensor
    """(R,) int64: the places of all members, in their order."""
    members: tuple[int, ...]
    """Which of the sequences."""
    num_places: tuple[int, ...]
    """Of each member."""


def pack_inputs(inputs: Sequence[StepInput], max_rows: int) -> list[Pack]:
    """Every sequence in one pack, each pack of at most `max_rows` rows where a sequence allows it.

    What stands behind the last place is left out.
    """
    order = sorted(range(len(inputs)), key=lambda index: (_question(inputs[index]), index))
    packs: list[list[int]] = []
    num_rows = 0
    for index in order:
        shares = bool(packs) and _question(inputs[packs[-1][-1]]) == _question(inputs[index])
        cost = len(_solution(inputs[index])) + (0 if shares else len(_question(inputs[index])))
        if packs and num_rows + cost <= max_rows:
            packs[-1].append(index)
            num_rows += cost
        else:
            packs.append([index])
            num_rows = len(_question(inputs[index])) + len(_solution(inputs[index]))
    return [_pack(inputs, members) for members in packs]


def _question(given: StepInput) -> tuple[int, ...]:
    return given.token_ids[: given.positions[0] + 1]


def _solution(given: StepInput) -> tuple[int, ...]:
    return given.token_ids[given.positions[0] + 1 : given.positions[-1] + 1]


def _pack(inputs: Sequence[StepInput], members: Sequence[int]) -> Pack:
    """The members, those with the same question next to each other."""
    tokens: list[int] = []
    sequences: list[PackedSequence] = []
    rows: list[int] = []
    question: tuple[int, ...] = ()
    question_start = 0
    for index in members:
        given = inputs[index]
        if _question(given) != question:
            question, question_start = _question(given), len(tokens)
            sequences.append(PackedSequence(question_start, len(question)))
            tokens.extend(question)
        start, solution = len(tokens), _solution(given)
        if solution:
            sequences.append(PackedSequence(start, len(solution), question_start, len(question)))
            tokens.extend(solution)
        offset = start - len(question)
        rows.append(question_start + len(question) - 1)
        rows.extend(offset + position for position in given.positions[1:])
    num_places = tuple(len(inputs[index].positions) for index in members)
    return Pack(torch.tensor(tokens), PackedLayout(tuple(sequences)), torch.tensor(rows), tuple(members), num_places)
