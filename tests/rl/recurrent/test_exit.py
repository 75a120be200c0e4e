"""Questions of different depths on one engine: the bits of each are those of a model that goes as deep for all."""

import dataclasses
import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from rl.forward import ForwardPass
from rl.parity import SQUEEZED
from rl.recurrent.checkpoint import at_recurrence
from rl.recurrent.flops import flops_per_token
from rollout.pool import RolloutPool
from rollout.types import SamplingParams

from ...conftest import make_prompts
from ..commands import REPO, zerokl

pytestmark = pytest.mark.engine
DEPTHS = (1, 4, 2, 3)
"""The third and fourth prompts share a prefix."""


def test_every_question_is_exact_at_its_own_depth(tiny_recurrent: Path, tmp_path: Path, ray_session: None) -> None:
    prompts = [
        dataclasses.replace(prompt, recurrence=depth)
        for prompt, depth in zip(make_prompts(tiny_recurrent), DEPTHS, strict=True)
    ]
    model_dir = at_recurrence(tiny_recurrent, 4, tmp_path)
    forward, pool = ForwardPass(), RolloutPool(SQUEEZED, seed=0)
    try:
        plan, _ = forward.load(model_dir, "float32")
        pool.start(str(model_dir), "float32", plan)
        pool.load_policy(forward.policy(), forward.put_weights)
        groups = pool.generate(prompts, SamplingParams(max_new_tokens=24), 3)
        for group, depth in zip(groups, DEPTHS, strict=True):
            assert {rollout.recurrence for rollout in group.rollouts} == {depth}
            forward.load(at_recurrence(tiny_recurrent, depth, tmp_path), "float32", plan=plan)
            (trained,) = forward.logprobs([group])
            assert trained == tuple(rollout.rollout_logprobs for rollout in group.rollouts)
        with pytest.raises(ValueError, match="asks for recurrence 5, and the engine goes from 1 to 4"):
            pool.generate([dataclasses.replace(prompts[0], recurrence=5)], SamplingParams(max_new_tokens=1), 1)
    finally:
        pool.close()
        forward.close()


@pytest.mark.thorough
def test_a_sampling_goes_as_deep_as_each_question_needs(tiny_recurrent: Path, tmp_path: Path) -> None:
    settings = ("model.path=tiny:recurrent", "model.recurrence=6", "run.dir=out", "num_questions=8", "dtype=float32")
    rule = ("model.exit.measure=state", "model.exit.threshold=1e9")  # the first look at a change ends every question
    done = zerokl("sample", REPO / "configs" / "tiny_sample.yaml", *settings, *rule, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert [line["recurrence"] for line in lines] == [2] * 8
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    shallow = AutoConfig.from_pretrained(tiny_recurrent)
    assert (summary["recurrence"], summary["flops_per_token"]) == (shallow.num_recurrences, flops_per_token(shallow))
