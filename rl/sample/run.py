"""A sampling: a method answers questions on the engines of training, the graders judge, every question is kept.

questions ─ a chunk ─> method.search ─ completions ─> rubric.score, likelihood ─> samples.jsonl
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward.answers import read_answer
from reward.rubric import Rubric
from reward.types import Reward
from rl.clock import Clock
from rl.cluster import ray_cluster
from rl.errors import bad_input
from rl.evaluation.progress import EvalProgress
from rl.folder_lock import locked
from rl.models import load_tokenizer, resolved_dtype, stop_token_ids
from rl.recurrent.checkpoint import policy_folder
from rl.room import require_model_room
from rl.sample.config import SampleConfig, base_of, method_of
from rl.sample.engines import Engines, engines
from rl.sample.folder import Candidate, ChunkEffort, QuestionSamples, SampleFolder
from rl.sample.methods import Method, completions_of
from rl.sample.origin import settings_of
from rl.sample.questions import read_questions
from rl.sample.step_scorers import require_step_scorer
from rl.sample.summary import summarize
from rollout.search.power import PowerOutcome
from rollout.search.types import Outcome, Scorer, SearchResult, Task, Tools
from rollout.search.types import Path as Completion
from rollout.types import Prompt, Rollout, RolloutGroup

MIN_CHUNKS = 4


def sample(config: SampleConfig) -> dict[str, object]:
    """The summary of the sampling, complete in `run.dir` then. What was done there before is not done again."""
    folder = SampleFolder(Path(config.run.dir))
    title = f"{folder.path}: {config.method} on {config.data.task or 'its questions'}"
    with ExitStack() as stack:
        stack.enter_context(locked(folder.path))
        progress = stack.enter_context(EvalProgress(title, config.num_questions))
        progress.phase("reading the model and the data")
        with bad_input():
            rubric = stack.enter_context(Rubric(config.reward))
            rubric.warm_up()
            _require_inputs(config)
            folder.open(settings_of(config))
        if folder.is_complete:
            return folder.summary()
        progress.phase("starting Ray and vLLM")
        stack.enter_context(ray_cluster())
        up = stack.enter_context(
            engines(config.model, base_of(config), config.dtype, config.rollout, config.seed, config.timeout_s)
        )
        return sample_into(folder, config, up, rubric, progress)


def sample_into(
    folder: SampleFolder, config: SampleConfig, up: Engines, rubric: Rubric, progress: EvalProgress
) -> dict[str, object]:
    """The summary; afterwards `folder` is complete. Raises UserError where it holds samples of other settings."""
    method = method_of(config)
    with bad_input():
        num_done = folder.open(settings_of(config))
        prompts = _questions(config, up.tokenizer, up.max_model_len)
    tools = _tools(up, rubric, config)
    progress.phase("sampling")
    for questions in _chunks(prompts[num_done:], config):
        clock = Clock()
        chunk = up.thinker.settle(questions) if up.thinker else questions
        result = method.search.search(_tasks(chunk, method), tools)
        clock.lap("sample")
        folder.append_effort(_chunk_effort(num_done, len(chunk), result, clock.total_s))
        for samples in _graded(chunk, result.outcomes, config, up, rubric):
            folder.append(samples)
        num_done += len(chunk)
        progress.done(num_done)
    summary = summarize(folder, config, up.policy, up.cost)
    folder.write_summary(summary)
    return summary


def _require_inputs(config: SampleConfig) -> None:
    """Nothing; raises ValueError for a model, a PRM or questions that cannot be had, before an engine starts."""
    model_dir = policy_folder(config.model, config.seed)
    require_model_room(model_dir, config.rollout, resolved_dtype(config.dtype))
    tokenizer = load_tokenizer(model_dir)
    stop_token_ids(model_dir, tokenizer)
    require_step_scorer(config.prm, tokenizer)
    _questions(config, tokenizer, config.rollout.max_model_len)


def _questions(config: SampleConfig, tokenizer: Any, max_model_len: int) -> list[Prompt]:
    return read_questions(
        config.data, tokenizer, config.seed, config.num_questions, config.max_new_tokens, max_model_len
    )


def _chunks(prompts: Sequence[Prompt], config: SampleConfig) -> Iterator[list[Prompt]]:
    """Questions that fill the engines once; at most a share of all, so that the time left can be told."""
    filling = config.rollout.max_num_seqs * config.rollout.num_actors // config.num_samples
    size = max(config.rollout.num_actors, min(filling, math.ceil(config.num_questions / MIN_CHUNKS)))
    for start in range(0, len(prompts), size):
        yield list(prompts[start : start + size])


def _tasks(prompts: Sequence[Prompt], method: Method) -> list[Task]:
    return [Task(prompt, sample) for prompt in prompts for sample in range(method.num_tasks)]


def _tools(up: Engines, rubric: Rubric, config: SampleConfig) -> Tools:
    def extract(prompt: Prompt, token_ids: tuple[int, ...]) -> str | None:
        return read_answer(_text(up, token_ids), prompt.columns)

    def score(completions: Sequence[tuple[Prompt, Completion]]) -> list[float]:
        groups = [_group(prompt, [completion], up) for prompt, completion in completions]
        return [rewards[0].value for rewards in rubric.score(groups)]

    step_scorer = up.step_scorers.get(config.prm)
    return Tools(up.pool, up.stop_token_ids, config.seed, extract, Scorer(score), step_scorer)


def _graded(
    prompts: Sequence[Prompt], outcomes: Sequence[Outcome], config: SampleConfig, up: Engines, rubric: Rubric
) -> Iterator[QuestionSamples]:
    """A line a question: every candidate judged, and those that are answers scored under the base model."""
    num_tasks = method_of(config).num_tasks
    answers = [_answers(outcomes[place * num_tasks : (place + 1) * num_tasks]) for place in range(len(prompts))]
    groups = [_group(prompt, answer.completions, up) for prompt, answer in zip(prompts, answers, strict=True)]
    returned = [_only(group, answer.returned) for group, answer in zip(groups, answers, strict=True)]
    scored = zip(groups, answers, rubric.score(groups), up.base.logprobs(returned), strict=True)
    for group, answer, rewards, likelihoods in scored:
        logprobs = dict(zip(answer.returned, map(math.fsum, likelihoods), strict=True))
        judged = zip(group.rollouts, rewards, strict=True)
        yield QuestionSamples(
            prompt_id=group.prompt.id,
            candidates=tuple(_candidate(group, r, reward, logprobs.get(r.sample), config) for r, reward in judged),
            returned=answer.returned,
            sampled_tokens=answer.sampled_tokens,
            scored_tokens=answer.scored_tokens,
            recurrence=group.prompt.recurrence,
        )


def _only(group: RolloutGroup, samples: Sequence[int]) -> RolloutGroup:
    return RolloutGroup(group.prompt, tuple(group.rollouts[sample] for sample in samples), group.policy)


@dataclass(frozen=True)
class _Answers:
    """What a method gave for one question."""

    completions: tuple[Completion, ...]
    returned: tuple[int, ...]
    sampled_tokens: int
    scored_tokens: int


def _answers(outcomes: Sequence[Outcome]) -> _Answers:
    completions: list[Completion] = []
    returned: list[int] = []
    for outcome in outcomes:
        candidates, chosen = completions_of(outcome)
        returned.append(len(completions) + chosen)
        completions.extend(candidates)
    return _Answers(
        tuple(completions),
        tuple(returned),
        sampled_tokens=sum(outcome.effort.tokens_sampled for outcome in outcomes),
        scored_tokens=sum(outcome.effort.tokens_scored for outcome in outcomes),
    )


def _candidate(
    group: RolloutGroup, rollout: Rollout, reward: Reward, logprob: float | None, config: SampleConfig
) -> Candidate:
    is_whole = not rollout.truncated or len(rollout.token_ids) >= config.max_new_tokens
    return Candidate(
        token_ids=rollout.token_ids,
        text=rollout.text,
        answer=read_answer(rollout.text, group.prompt.columns),
        correct=reward.is_correct,
        truncated=rollout.truncated and is_whole,
        base_logprob=logprob,
        stopped=not is_whole,
    )


def _group(prompt: Prompt, completions: Sequence[Completion], up: Engines) -> RolloutGroup:
    assert up.pool.policy is not None, "policy_pool publishes one"
    rollouts = [
        Rollout(
            prompt.id, sample, path.token_ids, path.proposal_logprobs, _text(up, path.token_ids), not path.has_ended
        )
        for sample, path in enumerate(completions)
    ]
    return RolloutGroup(prompt, tuple(rollouts), up.pool.policy)


def _text(up: Engines, token_ids: Sequence[int]) -> str:
    text: str = up.tokenizer.decode(token_ids, skip_special_tokens=True)
    return text


def _chunk_effort(start: int, num_questions: int, result: SearchResult, wall_s: float) -> ChunkEffort:
    efforts = [outcome.effort for outcome in result.outcomes]
    gaps = [outcome.normaliser_gap for outcome in result.outcomes if isinstance(outcome, PowerOutcome)]
    return ChunkEffort(
        start=start,
        num_questions=num_questions,
        wall_s=wall_s,
        num_proposals=sum(effort.num_proposals for effort in efforts),
        num_accepted=sum(effort.num_accepted for effort in efforts),
        in_flight=result.mean_in_flight,
        normaliser_gap=max((gap for gap in gaps if math.isfinite(gap)), default=None),
    )
