"""Canonical cuts: a batch into shards, a shard into packed micro-batches. Neither knows how many ranks there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels.attention import PackedLayout
from kernels.attention import Sequence as PackedSequence
from rl.types import ScoredGroup, Shard
from rollout.types import Rollout


@dataclass(frozen=True)
class Slice:
    """Some rollouts of one group: what is packed behind one copy of its prompt."""

    group: ScoredGroup
    samples: tuple[int, ...]

    @property
    def rollouts(self) -> list[Rollout]:
        return [self.group.group.rollouts[sample] for sample in self.samples]

    @property
    def num_rows(self) -> int:
        """Rows it takes: the last token of a rollout predicts nothing and is left out."""
        return len(self.group.group.prompt.token_ids) + sum(len(r.token_ids) - 1 for r in self.rollouts)


@dataclass(frozen=True)
class MicroBatch:
    """Rollouts packed for one forward pass. N rows, T completion tokens, R rollouts."""

    slices: tuple[Slice, ...]
    token_ids: torch.Tensor
    """(N,) int64."""
    layout: PackedLayout
    predicting_rows: torch.Tensor
    """(T,) int64: the row whose hidden state predicts each completion token."""
    targets: torch.Tensor
    """(T,) int64 completion tokens."""
    rollout_logprobs: torch.Tensor
    """(T,) fp32."""
    advantages: torch.Tensor
    """(R,) fp32."""
    lengths: torch.Tensor
    """(R,) int64."""
    step_advantages: torch.Tensor | None
    """(T,) fp32; None without process rewards."""

    @property
    def rollout_index(self) -> torch.Tensor:
        """(T,) int64."""
        return torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths)


def cut_into_shards(groups: Sequence[ScoredGroup], num_shards: int) -> tuple[Shard, ...]:
    """`num_shards` shards of neighbouring groups, in prompt order.

    Raises ValueError when the groups do not divide evenly.
    """
    if len(groups) % num_shards:
        raise ValueError(f"{len(groups)} prompts cannot be cut into {num_shards} equal shards; change data.num_prompts")
    size = len(groups) // num_shards
    return tuple(Shard(tuple(groups[i * size : (i + 1) * size])) for i in range(num_shards))


def micro_batches(groups: Sequence[ScoredGroup], max_rows: int) -> list[MicroBatch]:
    """The groups packed in order into forward passes of at most `max_rows` rows, where a rollout allows it."""
    packs: list[list[Slice]] = []
    for piece in (piece for group in groups for piece in _slices(group, max_rows)):
        if packs and sum(s.num_rows for s in packs[-1]) + piece.num_rows <= max_rows:
            packs[-1].append(piece)
        else:
            packs.append([piece])
    return [pack(pieces) for pieces in packs]


def _slices(group: ScoredGroup, max_rows: int) -> list[Slice]:
    """The group whole if it fits, else in runs of neighbouring rollouts."""
    slices: list[Slice] = []
    for sample in range(len(group.group.rollouts)):
        grown = Slice(group, (*slices[-1].samples, sample)) if slices else None
        if grown is not None and grown.num_rows <= max_rows:
            slices[-1] = grown
        else:
            slices.append(Slice(group, (sample,)))
    return slices


def pack(slices: Sequence[Slice]) -> MicroBatch:
    """The slices as one packed forward pass: each prompt once, its completions behind it."""
    tokens: list[int] = []
    sequences: list[PackedSequence] = []
    predicting: list[int] = []
    for piece in slices:
        prompt = piece.group.group.prompt.token_ids
        prompt_start = len(tokens)
        sequences.append(PackedSequence(prompt_start, len(prompt)))
        tokens.extend(prompt)
        for rollout in piece.rollouts:
            assert rollout.token_ids, f"{rollout.prompt_id} sample {rollout.sample} has no tokens"
            start, length = len(tokens), len(rollout.token_ids) - 1
            predicting.extend([prompt_start + len(prompt) - 1, *range(start, start + length)])
            if length:
                sequences.append(PackedSequence(start, length, prompt_start, len(prompt)))
                tokens.extend(rollout.token_ids[:-1])
    rollouts = [rollout for piece in slices for rollout in piece.rollouts]
    return MicroBatch(
        slices=tuple(slices),
        token_ids=torch.tensor(tokens),
        layout=PackedLayout(tuple(sequences)),
        predicting_rows=torch.tensor(predicting),
        targets=torch.tensor([token for r in rollouts for token in r.token_ids]),
        rollout_logprobs=torch.tensor([x for r in rollouts for x in r.rollout_logprobs], dtype=torch.float32),
        advantages=torch.tensor([p.group.advantages[s] for p in slices for s in p.samples], dtype=torch.float32),
        lengths=torch.tensor([len(r.token_ids) for r in rollouts]),
        step_advantages=_step_advantages(slices),
    )


def _step_advantages(slices: Sequence[Slice]) -> torch.Tensor | None:
    if not all(piece.group.step_advantages for piece in slices):
        return None
    rollouts = [piece.group.step_advantages[sample] for piece in slices for sample in piece.samples]
    return torch.tensor([value for rollout in rollouts for value in rollout], dtype=torch.float32)
