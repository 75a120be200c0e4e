"""Fills `data/` with solutions and rollouts, a chunk of questions at a time, from where it was left."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reward.prm.steps import require_steps
from reward.rubric import Rubric
from rl.clock import Clock
from rl.contract.parts import numbered, package_versions, reward_parts
from rl.errors import bad_input
from rl.evaluation.progress import EvalProgress
from rl.policy_pool import policy_pool
from rl.prm.collect import Collector
from rl.prm.config import TrainPRMConfig
from rl.prm.folder import DataFolder, QuestionData
from rl.prm.inputs import Inputs
from rl.sample.origin import checkpoint_digests, digest_questions
from rollout.types import Prompt

MIN_CHUNKS = 20
LEAST_QUESTIONS = 8
"""Of a chunk, so that the first tells whether there are steps; it is fewer only where that many fill the engines."""
DECIDING_OF_ROLLOUT = ("exact", "temperature", "max_new_tokens", "max_model_len")
DECIDING_OF_COLLECT = ("num_questions", "num_trajectories", "num_rollouts", "num_test_rollouts", "shares")


def data_folder(config: TrainPRMConfig) -> DataFolder:
    """Where what is drawn for `config` lies."""
    return DataFolder(Path(config.run.dir) / "data")


def draw_data(config: TrainPRMConfig, inputs: Inputs, num_done: int) -> list[QuestionData]:
    """All questions with what was drawn for them; `data/`, where `num_done` lie, is complete then. Ray must be up.

    Raises UserError where no solution has a step.
    """
    folder = data_folder(config)
    folder.write_parts(inputs.parts)
    if num_done < len(inputs.prompts):
        title = f"{folder.path}: {config.collect.num_rollouts} rollouts of every prefix"
        with EvalProgress(title, len(inputs.prompts)) as progress, Rubric(config.reward) as rubric:
            rubric.warm_up()
            _draw(config, inputs, folder, num_done, rubric, progress)
    return folder.questions()


def deciding(config: TrainPRMConfig, inputs: Inputs) -> dict[str, Any]:
    """What decides the draws and how they are judged, in plain parts: not how work is shared out, nor what is fitted.

    Paths stand there for people; policy, questions and reward functions are known by what they are.
    """
    return numbered(
        {
            "versions": package_versions(config.data),
            "seed": config.seed,
            "policy": config.model.path,
            "policy_files": checkpoint_digests(inputs.policy_dir),
            **({} if config.model.recurrence is None else {"recurrence": config.model.recurrence}),
            "dtype": inputs.backbone.dtype,
            "data": asdict(config.data),
            "questions": digest_questions(list(inputs.prompts)),
            "reward": [reward_parts(function) for function in config.reward.functions],
            "rollout": {name: getattr(config.rollout, name) for name in DECIDING_OF_ROLLOUT},
            "collect": {name: getattr(config.collect, name) for name in DECIDING_OF_COLLECT},
            "separator": config.prm.separator,
        }
    )


def _draw(
    config: TrainPRMConfig,
    inputs: Inputs,
    folder: DataFolder,
    num_done: int,
    rubric: Rubric,
    progress: EvalProgress,
) -> None:
    """Nothing; every question that was missing is on the disk."""
    progress.phase("starting vLLM")
    with policy_pool(
        inputs.policy_dir, inputs.backbone.dtype, config.rollout, config.seed, config.trainer.timeout_s
    ) as pool:
        assert pool.policy is not None, "policy_pool publishes one"
        collector = Collector(
            sampler=pool,
            rubric=rubric,
            cutter=inputs.cutter,
            tokenizer=inputs.tokenizer,
            policy=pool.policy,
            sampling=inputs.sampling,
            seed=config.seed,
            num_trajectories=config.collect.num_trajectories,
        )
        progress.phase("drawing")
        for done in draw_chunks(config, inputs, collector, folder, num_done):
            progress.done(done)


def draw_chunks(
    config: TrainPRMConfig, inputs: Inputs, collector: Collector, folder: DataFolder, num_done: int
) -> Iterator[int]:
    """How many questions are on the disk, after every chunk. Raises UserError where the first chunk has no step."""
    for chunk in _chunks(inputs.prompts[num_done:], config):
        clock = Clock()
        trajectories = collector.trajectories(chunk)
        if num_done == 0:
            with bad_input():
                require_steps(inputs.cutter, [t.token_ids for own in trajectories for t in own])
        drawn = collector.collect(chunk, trajectories, [_num_rollouts(prompt, config, inputs) for prompt in chunk])
        clock.lap("draw")
        folder.append_effort(len(chunk), clock.total_s)
        for question in drawn:
            folder.append(question)
        num_done += len(chunk)
        yield num_done


def _num_rollouts(prompt: Prompt, config: TrainPRMConfig, inputs: Inputs) -> int:
    """Of each of its prefixes."""
    collect = config.collect
    return (collect.num_test_rollouts if prompt.id in inputs.test_ids else 0) or collect.num_rollouts


def _chunks(prompts: Sequence[Prompt], config: TrainPRMConfig) -> Iterator[list[Prompt]]:
    """Questions whose solutions fill the engines once; a share of all at most, for what a crash may lose."""
    filling = config.rollout.max_num_seqs * config.rollout.num_actors // config.collect.num_trajectories
    size = max(1, min(filling, max(LEAST_QUESTIONS, math.ceil(config.collect.num_questions / MIN_CHUNKS))))
    for start in range(0, len(prompts), size):
        yield list(prompts[start : start + size])
