"""What a pre-training run reads or makes before anything starts: the model's folder, the problems, the job."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.recurrent.depth import recurrence_of
from reward.mod_chain import ModChain, Problem
from rl.errors import UserError
from rl.models import MODEL_CACHE, load_tokenizer, resolve_model
from rl.pretrain.accuracy import ChainAccuracy
from rl.pretrain.config import PretrainConfig
from rl.pretrain.examples import ChainBatches, encoded, held_out_problems
from rl.pretrain.next_token import NextToken
from rl.pretrain.scratch import scratch_model
from rl.pretrain.tokenizer import chain_tokenizer
from rl.recurrent.checkpoint import to_be_trained_at
from rl.recurrent.draws import DepthDraws
from rl.run_folder import RunFolder
from rl.supervised.job import Job

SOURCES = ("reward.mod_chain", "rl.pretrain.examples", "rl.pretrain.next_token", "rl.recurrent.draws")
"""Modules in which an edit can move a bit of a pre-training run."""


@dataclass(frozen=True)
class Inputs:
    """Everything that can be wrong with what a user brings has been looked at."""

    model_dir: Path
    model_config: Any
    """The checkpoint's Hugging Face config."""
    tokenizer: Any
    draws: DepthDraws | None
    """None for a model that is not recurrent."""


def read_inputs(config: PretrainConfig) -> Inputs:
    """The inputs that `config` names. Raises ValueError saying what is wrong with them."""
    from transformers import AutoConfig

    from kernels.recurrent.registration import register

    register()
    draws = draws_of(config)
    model_dir = _model_dir(config, draws).resolve()
    model_config, tokenizer = AutoConfig.from_pretrained(model_dir), load_tokenizer(model_dir)
    is_recurrent = recurrence_of(model_config) is not None
    inputs = Inputs(model_dir, model_config, tokenizer, draws if is_recurrent else None)
    _require_length(config, inputs)
    return inputs


def draws_of(config: PretrainConfig) -> DepthDraws:
    """How deep the steps of training go."""
    recurrence = config.recurrence
    return DepthDraws(recurrence.mean, recurrence.sigma, recurrence.num_backpropagated or None)


def job_of(config: PretrainConfig, inputs: Inputs, folder: RunFolder) -> Job:
    """The run as supervised training knows it."""
    params, data = task_params(config, "train"), config.data
    return Job(
        folder=folder,
        title=f"{config.data.task}, next token on {config.data.loss_on}",
        model_dir=inputs.model_dir,
        dtype=config.trainer.dtype,
        objective=NextToken(inputs.draws),
        batches=ChainBatches(
            params, inputs.tokenizer, config.seed, data.batch_size, data.loss_on, data.curriculum_steps
        ),
        steps=config.steps,
        seed=config.seed,
        trainer=config.trainer,
        optimizer=config.optimizer,
        checkpoint=config.checkpoint,
        declared={"task": dataclasses.asdict(params) | {"name": config.data.task}},
        sources=SOURCES,
        evaluation=_accuracy(config, inputs),
        tokenizer=inputs.tokenizer,
        tracked=config,
    )


def task_params(config: PretrainConfig, split: str) -> ModChain:
    """The task's parameters."""
    return ModChain(**config.data.params, split=split)


def _model_dir(config: PretrainConfig, draws: DepthDraws) -> Path:
    if config.model.path:
        parent = resolve_model(config.model.path, MODEL_CACHE, seed=config.seed)
        return to_be_trained_at(parent, draws.usual, MODEL_CACHE)
    tokenizer = chain_tokenizer(task_params(config, "train"), config.model.max_length)
    return scratch_model(config.model, draws, tokenizer, config.seed, MODEL_CACHE)


def _accuracy(config: PretrainConfig, inputs: Inputs) -> ChainAccuracy:
    settings, params = config.evaluation, task_params(config, "held_out")
    operands = settings.operands or range(params.min_operands, params.max_operands + 1)
    default = recurrence_of(inputs.model_config) or 0
    return ChainAccuracy(
        problems=held_out_problems(params, inputs.tokenizer, config.seed, operands, settings.num_problems),
        recurrences=_recurrences(settings.recurrences, inputs.draws, default) if inputs.draws else (),
        default=default,
        every=settings.every,
        max_tokens=config.trainer.micro_batch_tokens,
    )


def _recurrences(asked: Sequence[int], draws: DepthDraws, default: int) -> tuple[int, ...]:
    """Depths to measure at, ascending: those asked for or powers of two to twice the mean, and the model's own."""
    powers = [2**n for n in range(16) if 2**n <= 2 * draws.mean]
    return tuple(sorted({*(asked or powers), default}))


def _require_length(config: PretrainConfig, inputs: Inputs) -> None:
    """Nothing; raises UserError where a problem could be longer than the model takes."""
    params = task_params(config, "all")
    most = max([params.max_operands, *config.evaluation.operands])
    longest = f"{params.operators[0]}".join([str(params.modulus - 1)] * most)
    problem = Problem(f"{longest} mod {params.modulus} =", (params.modulus - 1,) * most)
    ((question, answer),) = encoded([problem], inputs.tokenizer)
    limit = getattr(inputs.model_config.get_text_config(), "max_position_embeddings", None)
    if limit and len(question) + len(answer) + 1 > limit:
        raise UserError(
            f"a problem of {most} operands has {len(question) + len(answer) + 1} tokens, more than the {limit} "
            "positions of the model; lower data.params.max_operands and evaluation.operands, or raise model.max_length"
        )
