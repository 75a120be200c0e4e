"""The objective of pre-training: the next token, at a depth drawn for the step where the model has one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels import seam
from kernels.linear import LinearPlan
from rl.canonical_model import certified_plan, load_canonical
from rl.pretrain.examples import ChainExample
from rl.recurrent.draws import DepthDraws
from rl.supervised.objective import Totals
from rl.supervised.packing import pack


@dataclass(frozen=True)
class NextToken:
    """Cross-entropy of the scored tokens, in nats, averaged over those of the batch."""

    draws: DepthDraws | None
    """None for a model that is not recurrent."""

    def certify(self, model_dir: str, dtype: str) -> LinearPlan:
        return certified_plan(model_dir, dtype)

    def load(self, model_dir: str, dtype: str, plan: LinearPlan) -> Any:
        return load_canonical(model_dir, dtype, plan)

    def num_targets(self, example: ChainExample) -> int:
        return len(example.targets)

    def loss(self, model: Any, examples: Sequence[ChainExample], totals: Totals) -> torch.Tensor:
        packed = pack([example.token_ids[:-1] for example in examples])
        rows, targets = _scored(packed.starts, examples)
        depth = self.draws.depth(totals.seed, totals.step) if self.draws else None
        scored = seam.token_logprobs(model, packed.token_ids, packed.layout, rows, targets, 1.0, depth)
        return -scored.logprobs.sum() / totals.num_targets

    def save(self, model: Any, folder: Path) -> None:
        if self.draws:
            model.config.trained_recurrences = list(self.draws.central_range())
        model.save_pretrained(folder)


def _scored(starts: Sequence[int], examples: Sequence[ChainExample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that predict and the tokens they are to predict, both (T,) int64."""
    rows = [start + row for start, example in zip(starts, examples, strict=True) for row in example.rows]
    return torch.tensor(rows), torch.tensor([target for example in examples for target in example.targets])
