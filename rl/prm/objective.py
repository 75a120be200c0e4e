"""What a reward model learns: at every place of a solution, the law of the chance to succeed from there."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels import seam
from kernels.certify import certify_linear
from kernels.linear import LinearPlan
from kernels.recurrent.registration import register
from reward.prm.model import PRMSettings, QuantilePRM, save_prm
from reward.prm.packing import pack_inputs
from reward.prm.steps import StepInput
from rl.prm.examples import ReadQuestion, ReadSolution
from rl.prm.lora import inject_adapters, merged
from rl.supervised.objective import Totals
from rl.supervised.packing import micro_batches


@dataclass(frozen=True)
class PRMObjective:
    """The family's loss on the counts, each question with the same weight."""

    settings: PRMSettings
    bias: tuple[float, ...]
    """What the head says before it has learned: the fit that does not look at the prefix."""
    tuning: str
    """`lora` or `full`."""
    lora_rank: int
    lora_alpha: int
    seed: int

    def certify(self, model_dir: str, dtype: str) -> LinearPlan:
        """The linear that is certified for backbone and adapters; the head brings its own."""
        backbone = skeleton(model_dir)
        with torch.device("meta"):
            self._adapt(backbone)
        return certify_linear(seam.linear_shapes(backbone), getattr(torch, dtype))

    def load(self, model_dir: str, dtype: str, plan: LinearPlan) -> QuantilePRM:
        """Backbone, adapters and a fresh head."""
        import transformers

        register()
        loaded = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype))
        backbone = loaded.eval()
        self._adapt(backbone)
        seam.install(backbone, plan)
        return QuantilePRM.over(backbone, self.settings, self.bias)

    def num_targets(self, example: ReadQuestion) -> int:
        """Its places."""
        return example.num_places

    def loss(self, model: QuantilePRM, examples: Sequence[ReadQuestion], totals: Totals) -> torch.Tensor:
        """() fp32 share of the mean over the batch's questions."""
        solutions = [solution for example in examples for solution in example.solutions]
        weights = torch.tensor([solution.weight for solution in solutions for _ in solution.ends])
        return (place_losses(model, solutions) * weights).sum() / totals.num_examples

    def save(self, model: QuantilePRM, folder: Path) -> None:
        """Nothing; writes a plain checkpoint, adapters merged, and the head beside it."""
        save_prm(model, folder, backbone=merged(model.backbone) if self.tuning == "lora" else None)

    def _adapt(self, backbone: Any) -> None:
        if self.tuning == "lora":
            inject_adapters(backbone, self.lora_rank, self.lora_alpha, self.seed)
            return
        output, embedding = backbone.get_output_embeddings().weight, backbone.get_input_embeddings().weight
        output.requires_grad_(output is embedding)  # no loss reads it, but where it is the embedding as well


@dataclass(frozen=True)
class HeldOutLoss:
    """The mean loss on questions that are not trained on, before and after."""

    objective: PRMObjective
    questions: tuple[ReadQuestion, ...]
    max_tokens: int
    """Of one forward pass."""
    every: int = 0
    headline: str = "calibration/loss"

    @property
    def num_tokens(self) -> int:
        return sum(len(question.token_ids) for question in self.questions)

    def measure(self, model: QuantilePRM) -> Mapping[str, float]:
        """The loss, every question with the same weight."""
        totals = Totals(step=0, seed=0, num_examples=len(self.questions), num_targets=0)
        batches = micro_batches(self.questions, self.max_tokens)
        return {self.headline: sum(float(self.objective.loss(model, batch, totals)) for batch in batches)}


def skeleton(model_dir: str) -> Any:
    """The backbone in `model_dir` without its weights. Raises ValueError for one that the canonical ops cannot run."""
    import transformers

    register()
    config = transformers.AutoConfig.from_pretrained(model_dir)
    with torch.device("meta"):
        backbone = transformers.AutoModelForCausalLM.from_config(config)
    seam.refuse_uncovered(backbone)
    return backbone


def place_losses(model: QuantilePRM, solutions: Sequence[ReadSolution]) -> torch.Tensor:
    """(places,) fp32: the loss at every place of `solutions`, in order."""
    successes = torch.tensor([count for solution in solutions for count in solution.successes], dtype=torch.float32)
    trials = torch.tensor([count for solution in solutions for count in solution.trials], dtype=torch.float32)
    return model.family.loss(parameters_at(model, solutions), successes, trials)


def parameters_at(model: QuantilePRM, solutions: Sequence[ReadSolution], max_rows: int = sys.maxsize) -> torch.Tensor:
    """(places, parameters) fp32: what the head says at every place of `solutions`, in order.

    max_rows: of one forward pass, where a solution allows it; no bit depends on it.
    """
    found: dict[int, torch.Tensor] = {}
    for pack in pack_inputs([StepInput(s.token_ids, s.ends, s.positions) for s in solutions], max_rows):
        outputs = model(pack.token_ids, pack.layout, pack.rows).split(list(pack.num_places))
        found.update(zip(pack.members, outputs, strict=True))
    return torch.cat([found[index] for index in range(len(solutions))])
