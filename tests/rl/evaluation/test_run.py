"""Evaluations: questions in chunks on a stand-in for the pool, and one on the real engine."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reward.rubric import RewardConfig, RewardFunctionConfig
from reward.types import Reward
from rl.errors import UserError
from rl.evaluation.report import report_json
from rl.evaluation.run import Prepared, evaluate_checkpoint, measure, prepare, sample_and_grade
from rl.evaluation.settings import EvalOptions, EvalSettings, settle
from rl.models import load_tokenizer
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup, SamplingParams

POLICY = PolicyVersion(0, "ab" * 32)
PROMPTS = [Prompt(f"held_out/0/{i}", str(i), (1, 2), {}) for i in range(7)]


def settings(num_samples: int, num_actors: int = 1, max_num_seqs: int = 256) -> EvalSettings:
    options = EvalOptions("tiny:llama", task="chain_sum", num_prompts=7, num_samples=num_samples, num_actors=num_actors)
    settled = settle(options)
    return replace(settled, rollout=replace(settled.rollout, max_num_seqs=max_num_seqs))


class Pool:
    """Sample s of question i has i + s tokens."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams, group_size: int) -> list[RolloutGroup]:
        self.sizes.append(len(prompts))
        return [RolloutGroup(p, tuple(_rollout(p, s) for s in range(group_size)), POLICY) for p in prompts]


class Rubric:
    """Right are the rollouts of at least five tokens."""

    def score(self, groups: Sequence[RolloutGroup]) -> list[tuple[Reward, ...]]:
        return [tuple(Reward(float(len(r.token_ids) >= 5), {}) for r in group.rollouts) for group in groups]


def _rollout(prompt: Prompt, sample: int) -> Rollout:
    length = int(prompt.text) + sample
    return Rollout(prompt.id, sample, (5,) * length, (-0.5,) * length, "", length > 6)


def counts(given: EvalSettings) -> tuple[list[tuple[str, int, int, int]], list[int]]:
    pool, prepared = Pool(), Prepared(given, Path(), PROMPTS, SamplingParams())
    chunks = list(sample_and_grade(pool, Rubric(), prepared))  # type: ignore[arg-type]
    questions = [question for chunk in chunks for question in chunk.questions]
    return [(q.prompt_id, q.num_correct, q.num_truncated, q.num_tokens) for q in questions], pool.sizes


def test_every_question_is_counted_in_order() -> None:
    found, sizes = counts(settings(num_samples=3))
    assert sizes == [2, 2, 2, 1]
    assert found == [
        ("held_out/0/0", 0, 0, 3),
        ("held_out/0/1", 0, 0, 6),
        ("held_out/0/2", 0, 0, 9),
        ("held_out/0/3", 1, 0, 12),
        ("held_out/0/4", 2, 0, 15),
        ("held_out/0/5", 3, 1, 18),
        ("held_out/0/6", 3, 2, 21),
    ]


@pytest.mark.parametrize(
    ("num_actors", "max_num_seqs", "sizes"),
    [(1, 3, [1] * 7), (1, 1, [1] * 7), (3, 1, [3, 3, 1]), (2, 3, [2, 2, 2, 1]), (2, 100, [2, 2, 2, 1])],
)
def test_chunks_fill_the_engines_and_change_nothing(num_actors: int, max_num_seqs: int, sizes: list[int]) -> None:
    found, taken = counts(settings(3, num_actors, max_num_seqs))
    assert taken == sizes
    assert found == counts(settings(3))[0]


def test_where_the_figures_cannot_be_written_nothing_is_sampled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; give a file"):
        evaluate_checkpoint(settings(3), tmp_path)
    with pytest.raises(UserError, match="none is no folder that can be written to"):
        evaluate_checkpoint(settings(3), tmp_path / "none" / "eval.json")


def test_the_engines_have_room_for_the_longest_question_and_a_completion(tiny_model: Path) -> None:
    prepared = prepare(settle(EvalOptions(str(tiny_model), task="chain_sum", num_prompts=7, max_new_tokens=30)))
    assert len(prepared.prompts) == 7 and prepared.prompts[0].id == "held_out/0/0"
    longest = max(len(prompt.token_ids) for prompt in prepared.prompts)
    assert prepared.settings.rollout.max_model_len == longest + 30
    assert prepared.sampling == SamplingParams(1.0, 30, stop_token_ids=(2,))


def test_a_completion_longer_than_the_model_takes_is_refused(tiny_model: Path) -> None:
    with pytest.raises(UserError, match="--max-new-tokens 2040 that is more than the 2048"):
        prepare(settle(EvalOptions(str(tiny_model), task="chain_sum", max_new_tokens=2040)))


def test_a_checkpoint_is_evaluated_at_the_depth_that_is_asked_for() -> None:
    asked = EvalOptions("tiny:recurrent", recurrence=3, task="chain_sum", num_prompts=1)
    assert prepare(settle(asked)).settings.recurrence == 3
    assert prepare(settle(replace(asked, recurrence=None))).settings.recurrence == 2
    with pytest.raises(UserError, match="recurrence 400000 makes 800002 layers.*room for 0 tokens"):
        prepare(settle(replace(asked, recurrence=400_000)))
    with pytest.raises(UserError, match="needs a recurrent-depth checkpoint"):
        prepare(settle(replace(asked, model="tiny:llama")))


def test_without_a_config_questions_are_plain_where_the_model_has_no_template(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    plain = prepare(replace(settings(3), model=str(base)))
    assert plain.settings.data.chat is False
    assert plain.prompts[0].token_ids == tuple(load_tokenizer(base).encode(plain.prompts[0].text))
    with pytest.raises(UserError, match="chat template"):
        prepare(replace(settings(3), model=str(base), has_config=True))


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f'{{"prompt": "What is {i} + 1?", "answer": "{i + 1}"}}\n' for i in range(5)))
    return path


def test_a_file_is_asked_whole_and_graded_by_its_answers(tiny_model: Path, sums: Path) -> None:
    prepared = prepare(settle(EvalOptions(str(tiny_model), jsonl=sums)))
    assert {(prompt.text, prompt.columns["answer"]) for prompt in prepared.prompts} == {
        (f"What is {i} + 1?", str(i + 1)) for i in range(5)
    }
    assert [function.name for function in prepared.settings.reward.functions] == ["math_accuracy"]
    assert prepared.settings.source == "sums"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"task": "chain_sun"}, "did you mean 'chain_sum'.*data.task is --task"),
        ({"task": "chain_sum", "params": ["min_term=2"]}, "did you mean 'min_terms'.*data.params is --param"),
        ({"jsonl": Path("none.jsonl")}, "no file at none.jsonl.*data.sources.0.jsonl is --jsonl"),
    ],
)
def test_what_is_wrong_with_the_questions_is_said_in_flags(tiny_model: Path, asked: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(settle(EvalOptions(str(tiny_model), **asked)))


def test_more_questions_than_a_file_has_are_refused(tiny_model: Path, sums: Path) -> None:
    with pytest.raises(UserError, match="5 different questions.*data.num_held_out is --num-prompts"):
        prepare(settle(EvalOptions(str(tiny_model), jsonl=sums, num_prompts=6)))


@pytest.mark.engine
def test_counts_do_not_depend_on_the_number_of_actors(tiny_model: Path, ray_session: None) -> None:
    from transformers import AutoModelForCausalLM

    from kernels.digest import weights_digest

    options = EvalOptions(
        str(tiny_model), task="chain_sum", num_prompts=7, num_samples=4, max_new_tokens=12, dtype="float32"
    )
    # The random model solves nothing, but how many digits a completion has tells it from others.
    settled = replace(settle(options), reward=RewardConfig([RewardFunctionConfig("digit_share")]))
    squeezed = replace(settled.rollout, max_num_seqs=5, max_num_batched_tokens=40, kv_cache_gib=0.05)
    one, two = (measure(replace(settled, rollout=replace(squeezed, num_actors=actors))) for actors in (1, 2))
    assert json.loads(report_json(one))["per_question"] == json.loads(report_json(two))["per_question"]
    assert len({reward for question in one.questions for reward in question.rewards}) > 4
    assert one.contract == two.contract != ""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert one.policy == two.policy == weights_digest(dict(model.named_parameters()))
