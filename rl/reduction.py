"""Sums a flat gradient over the ranks in the fixed tree, each rank a slice of it.

    rank 0   a0 a1 ─┐ exchange   a0 b0 ─ a0 + b0 ─┐ gather
    rank 1   b0 b1 ─┴──────────  a1 b1 ─ a1 + b1 ─┴──────── the whole sum, on both

Norm and digest are formed of fixed rows and chunks of the flat vector. A slice is a number of whole chunks, so neither
sees how the vector is cut. Collectives run on the device of the tensors handed over.
"""

import math

import torch
import torch.distributed as dist

from rl.gradient import CHUNK, NORM_ROWS, chunk_digests, digest_of_chunks, norm_of_rows, row_sums, tree_sum


class Reduction:
    """The ranks' subtotals in, the whole sum out; every method but `digests` is called by all ranks together."""

    def __init__(self, num_elements: int):
        """num_elements: of the flat vector, without padding."""
        self.num_elements = num_elements
        self._num_ranks, self._rank = dist.get_world_size(), dist.get_rank()
        self._slice_chunks = math.ceil(math.ceil(num_elements / CHUNK) / self._num_ranks)
        self._slice_size = self._slice_chunks * CHUNK if self._num_ranks > 1 else num_elements

    @property
    def num_padded(self) -> int:
        """Elements of the vectors that are exchanged: as many slices as ranks."""
        return self._slice_size * self._num_ranks

    def sum(self, subtotal: torch.Tensor) -> torch.Tensor:
        """This rank's slice of the sum. subtotal: (num_padded,), zeros at its end; is overwritten."""
        if self._num_ranks == 1:
            return subtotal
        received = torch.empty_like(subtotal)
        dist.all_to_all_single(received, subtotal)
        return tree_sum(list(received.view(self._num_ranks, -1)))

    def norm(self, piece: torch.Tensor) -> float:
        """`rl.gradient.global_norm` of the whole sum. piece: this rank's slice."""
        sums = row_sums(self._without_padding(piece))
        return norm_of_rows(self._gather(sums, math.ceil(self._slice_size / NORM_ROWS)).tolist())

    def digests(self, piece: torch.Tensor) -> torch.Tensor:
        """(chunks, 32) uint8: sha256 of each chunk of this rank's slice."""
        return chunk_digests(self._without_padding(piece))

    def digest(self, digests: torch.Tensor) -> str:
        """`rl.gradient.gradient_digest` of the whole sum. digests: of this rank's slice."""
        gathered = self._gather(digests, self._slice_chunks)
        return digest_of_chunks(gathered[: math.ceil(self.num_elements / CHUNK)])

    def gather(self, piece: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """(num_elements,): the whole sum. piece: this rank's slice; out: (num_padded,), is overwritten."""
        if self._num_ranks > 1:
            dist.all_gather_into_tensor(out, piece)
        return out[: self.num_elements]

    def sum_scalar(self, subtotal: torch.Tensor) -> float:
        """The sum over the ranks. subtotal: (1,)."""
        return float(tree_sum(list(self._gather(subtotal, 1).split(1))))

    def _without_padding(self, piece: torch.Tensor) -> torch.Tensor:
        return piece[: max(0, self.num_elements - self._rank * self._slice_size)]

    def _gather(self, part: torch.Tensor, length: int) -> torch.Tensor:
        """All ranks' parts in a row, each padded with zeros to `length`."""
        if self._num_ranks == 1:
            return part
        padded = part.new_zeros(length, *part.shape[1:])
        padded[: len(part)] = part
        whole = part.new_empty(self._num_ranks * length, *part.shape[1:])
        dist.all_gather_into_tensor(whole, padded)
        return whole
