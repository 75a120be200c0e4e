"""What a `train-prm` run reads before anything starts, so that whatever is wrong with it is said within seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward.prm.outcomes import split_questions
from reward.prm.steps import StepCutter, StepRule
from reward.rubric import Rubric
from rl.errors import UserError
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model, resolved_dtype, stop_token_ids
from rl.prm.checks import PARTS
from rl.prm.config import TrainPRMConfig
from rl.prm.fit import Backbone
from rl.prm.objective import skeleton
from rl.prm.questions import read_questions
from rl.recurrent.checkpoint import policy_folder
from rl.room import require_model_room
from rollout.types import Prompt, SamplingParams


@dataclass(frozen=True)
class Inputs:
    """Everything that can be wrong with what a user brings has been looked at."""

    policy_dir: Path
    tokenizer: Any
    """The policy's."""
    sampling: SamplingParams
    backbone: Backbone
    cutter: StepCutter
    prompts: tuple[Prompt, ...]
    parts: Mapping[str, tuple[str, ...]]
    """Ids of the questions by what they are for: train, calibration, test."""

    @property
    def test_ids(self) -> frozenset[str]:
        return frozenset(self.parts["test"])


def read_inputs(config: TrainPRMConfig) -> Inputs:
    """The inputs that `config` names. Raises ValueError saying what is wrong with them."""
    Rubric(config.reward).close()  # raises where a reward function cannot be had
    policy_dir = policy_folder(config.model, config.seed)
    own = config.prm.backbone
    backbone_dir = resolve_model(own, MODEL_CACHE, seed=config.seed).resolve() if own else policy_dir
    require_model_room(policy_dir, config.rollout, resolved_dtype(config.trainer.dtype))
    tokenizer = load_tokenizer(policy_dir)
    _require_same_vocabulary(tokenizer, backbone_dir)
    skeleton(str(backbone_dir))  # raises where it cannot be trained under the canonical ops
    cutter = StepCutter(tokenizer, StepRule(config.prm.separator, config.prm.step_token))
    _require_positions(config, policy_dir, backbone_dir)
    prompts = read_questions(config, tokenizer)
    ids = split_questions([prompt.id for prompt in prompts], config.collect.shares, config.seed)
    return Inputs(
        policy_dir=policy_dir,
        tokenizer=tokenizer,
        sampling=SamplingParams(
            config.rollout.temperature,
            config.rollout.max_new_tokens,
            stop_token_ids=stop_token_ids(policy_dir, tokenizer),
        ),
        backbone=Backbone(backbone_dir, tokenizer, resolved_dtype(config.trainer.dtype)),
        cutter=cutter,
        prompts=tuple(prompts),
        parts=dict(zip(PARTS, ids, strict=True)),
    )


def _require_same_vocabulary(tokenizer: Any, backbone_dir: Path) -> None:
    if tokenizer.get_vocab() != load_tokenizer(backbone_dir).get_vocab():
        raise UserError(
            f"prm.backbone in {backbone_dir} has another vocabulary than the policy, so it cannot read the policy's "
            "tokens; name a model of the same family, or leave it empty to take the policy itself"
        )


def _require_positions(config: TrainPRMConfig, *folders: Path) -> None:
    from transformers import AutoConfig

    for folder in folders:
        limit = getattr(AutoConfig.from_pretrained(folder).get_text_config(), "max_position_embeddings", None)
        if limit and config.rollout.max_model_len > limit:
            raise UserError(
                f"rollout.max_model_len={config.rollout.max_model_len} is more than the {limit} positions of {folder}; "
                "lower it"
            )
