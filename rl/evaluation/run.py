"""An evaluation: a checkpoint answers questions on the engine that training samples with, and the same graders judge.

questions ─ a chunk ─> pool.generate ─ groups ─> rubric.score ─ rewards ─> counts by question ─> report
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kernels.recurrent.depth import recurrence_of
from kernels.recurrent.registration import register
from reward.rubric import Rubric
from rl.clock import Clock
from rl.cluster import ray_cluster
from rl.config import ModelConfig
from rl.data import load_held_out
from rl.durable import write_atomically
from rl.errors import UserError, bad_input
from rl.evaluation.progress import EvalProgress
from rl.evaluation.report import EvalReport, QuestionResult, question_result, render_report, report_json
from rl.evaluation.settings import EvalSettings
from rl.models import load_tokenizer, stop_token_ids
from rl.policy_pool import policy_pool
from rl.recurrent.checkpoint import policy_folder
from rl.room import require_model_room
from rollout.pool import RolloutPool
from rollout.types import Prompt, SamplingParams

MIN_CHUNKS = 4
FLAGS = (
    "on the command line data.task is --task, data.params is --param, data.sources.0.jsonl is --jsonl and "
    "data.num_held_out is --num-prompts; rollout.max_model_len is what the longest question and --max-new-tokens take; "
    "other keys need a --config"
)


@dataclass(frozen=True)
class Prepared:
    """What has been read, and is ready to be sampled from."""

    settings: EvalSettings
    """With what follows from the checkpoint in its place: the template of the questions, the room of the engines, and
    how deep they go."""
    model_dir: Path
    prompts: list[Prompt]
    sampling: SamplingParams


@dataclass(frozen=True)
class Chunk:
    """Questions that were sampled and graded together."""

    questions: tuple[QuestionResult, ...]
    sampling_s: float
    """Time the engines took, without the graders'."""


def evaluate_checkpoint(settings: EvalSettings, out: Path | None) -> None:
    """Nothing; samples, grades, prints the figures, and writes them as JSON to `out`."""
    _require_writable(out)
    report = measure(settings)
    print(render_report(report), flush=True)
    if out:
        write_atomically(out, report_json(report))


def measure(settings: EvalSettings) -> EvalReport:
    """The report. Raises UserError for a model, questions or graders that cannot be had, before an engine starts."""
    with EvalProgress(f"{settings.model} on {settings.source}", settings.num_prompts) as progress, ExitStack() as stack:
        progress.phase("reading the model and the data")
        with bad_input():
            rubric = stack.enter_context(Rubric(settings.reward))
            rubric.warm_up()
            prepared = prepare(settings)
        progress.phase("starting Ray and vLLM")
        with bad_input():
            stack.enter_context(ray_cluster())
            pool = stack.enter_context(_pool(prepared))
        progress.phase("sampling")
        chunks: list[Chunk] = []
        for chunk in sample_and_grade(pool, rubric, prepared):
            chunks.append(chunk)
            progress.done(sum(len(done.questions) for done in chunks))
        return _report(prepared.settings, pool, chunks)


def prepare(settings: EvalSettings) -> Prepared:
    """The checkpoint and the questions, read and checked. Raises ValueError for what cannot be had or does not fit."""
    model_dir = policy_folder(ModelConfig(settings.model, settings.recurrence), settings.data_seed)
    tokenizer = load_tokenizer(model_dir)
    if not settings.has_config:
        settings = replace(settings, data=replace(settings.data, chat=bool(tokenizer.chat_template)))
    with _flags_named(settings):
        held_out = load_held_out(settings.data, tokenizer, settings.data_seed)
        prompts = held_out.batch(0, settings.num_prompts)
    sampling = SamplingParams(
        temperature=settings.rollout.temperature,
        max_new_tokens=settings.rollout.max_new_tokens,
        stop_token_ids=stop_token_ids(model_dir, tokenizer),
    )
    needed = _needed_tokens(settings, model_dir, prompts)
    settings = replace(settings, rollout=replace(settings.rollout, max_model_len=needed))
    with _flags_named(settings):
        model_config = require_model_room(model_dir, settings.rollout, settings.dtype)
    settings = replace(settings, recurrence=recurrence_of(model_config))
    return Prepared(settings, model_dir, prompts, sampling)


def sample_and_grade(pool: RolloutPool, rubric: Rubric, prepared: Prepared) -> Iterator[Chunk]:
    """Every question, in order, in chunks that keep the engines busy. The chunks change no count."""
    size, num_samples = _chunk_size(prepared.settings), prepared.settings.num_samples
    for start in range(0, len(prepared.prompts), size):
        clock = Clock()
        groups = pool.generate(prepared.prompts[start : start + size], prepared.sampling, num_samples)
        clock.lap("sample")
        graded = zip(groups, rubric.score(groups), strict=True)
        yield Chunk(tuple(question_result(group, rewards) for group, rewards in graded), clock.total_s)


@contextmanager
def _flags_named(settings: EvalSettings) -> Iterator[None]:
    """Says, where there is no config, what the keys of a config that an error names are called on the command line."""
    try:
        yield
    except UserError as error:
        if settings.has_config:
            raise
        raise UserError(f"{error} ({FLAGS})") from error


def _needed_tokens(settings: EvalSettings, model_dir: Path, prompts: list[Prompt]) -> int:
    """Tokens of the longest question and a completion together. Raises UserError where the model takes fewer."""
    from transformers import AutoConfig

    register()
    longest = max(len(prompt.token_ids) for prompt in prompts)
    max_new_tokens = settings.rollout.max_new_tokens
    needed = longest + max_new_tokens
    config = AutoConfig.from_pretrained(model_dir).get_text_config()
    limit = getattr(config, "max_position_embeddings", None) or needed
    if needed > limit:
        raise UserError(
            f"the longest question has {longest} tokens, and with --max-new-tokens {max_new_tokens} that is "
            f"more than the {limit} that {settings.model} takes; lower --max-new-tokens or take shorter questions"
        )
    return needed


def _pool(prepared: Prepared) -> AbstractContextManager[RolloutPool]:
    settings, rollout = prepared.settings, prepared.settings.rollout
    return policy_pool(prepared.model_dir, settings.dtype, rollout, settings.seed, settings.timeout_s)


def _chunk_size(settings: EvalSettings) -> int:
    """Questions whose samples fill every engine once; at most a share of all, so that the time left can be told."""
    rollout = settings.rollout
    filling = rollout.max_num_seqs * rollout.num_actors // settings.num_samples
    return max(rollout.num_actors, min(filling, -(-settings.num_prompts // MIN_CHUNKS)))


def _report(settings: EvalSettings, pool: RolloutPool, chunks: list[Chunk]) -> EvalReport:
    assert pool.policy is not None, "policy_pool publishes one"
    contract = pool.contracts[0]
    return EvalReport(
        settings=settings,
        policy=pool.policy.digest,
        contract=contract.digest if contract else "",
        questions=tuple(question for chunk in chunks for question in chunk.questions),
        sampling_s=sum(chunk.sampling_s for chunk in chunks),
    )


def _require_writable(out: Path | None) -> None:
    """Raises UserError now, not when everything has been sampled."""
    if out is None:
        return
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; give a file, such as {out / 'eval.json'}")
    if not out.absolute().parent.is_dir() or not os.access(out.absolute().parent, os.W_OK):
        raise UserError(f"--out {out}: {out.absolute().parent} is no folder that can be written to; make it first")
