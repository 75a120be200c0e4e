"""A comparison from config to report, on a stand-in for the engines."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rl.compare.config import ArmConfig, CompareConfig
from rl.compare.jobs import Job, by_policy, folder_name, plan
from rl.compare.run import compare, not_done
from rl.compare.sampling import sample_config
from rl.config import ModelConfig
from rl.errors import UserError
from rl.sample.config import base_of, render_sample_config
from rl.sample.folder import SampleFolder, Settings

from .arms import question
from .folders import comparison, trained_run


class Sampler:
    """Answers are right for even questions, and for the trained arm always."""

    def __init__(self, config: CompareConfig) -> None:
        self.config, self.opened, self.done = config, list[str](), list[str]()

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *exception: object) -> None: ...

    def require_inputs(self) -> None: ...

    def settings(self, job: Job) -> Settings:
        weights = sorted(Path(job.arm.model).glob("model/*.safetensors")) if job.arm.model else []
        origin = {"model": [path.read_text() for path in weights]}
        return Settings(render_sample_config(sample_config(self.config, job)), origin)

    @contextmanager
    def open(self, arm: ArmConfig) -> Iterator[Callable[[Job], object]]:
        self.opened.append(arm.model)
        yield self.do

    def do(self, job: Job) -> None:
        self.done.append(job.name)
        folder = SampleFolder(job.folder)
        for index in range(folder.open(self.settings(job)), job.task.num_questions):
            right = bool(job.arm.model) or index % 2 == 0
            returned = [0] if job.arm.method == "vote" else []
            folder.append(question(index, [right] * job.arm.num_samples, 3 * job.arm.num_samples, returned))
        policy = "cd" if job.arm.model else "ab"
        folder.write_summary(
            {"method": job.arm.method, "policy": policy, "wall_s": 1.0, "num_questions": job.task.num_questions}
        )


def run(config: CompareConfig) -> Sampler:
    made: list[Sampler] = []
    compare(config, lambda given: made.append(Sampler(given)) or made[0])  # type: ignore[func-returns-value]
    return made[0]


def test_jobs_of_a_policy_are_done_together_and_the_base_comes_first(tmp_path: Path) -> None:
    config = comparison(tmp_path, "m")
    config.arms.insert(0, config.arms.pop())
    config.arms.insert(0, ArmConfig("deep", recurrence=8))
    ordered = [[job.name for job in jobs] for jobs in by_policy(plan(config))]
    assert ordered == [
        ["base on sums", "base on legs", "vote of 4 on sums", "vote of 4 on legs"],
        ["deep on sums", "deep on legs"],
        ["RL on sums", "RL on legs"],
    ]
    config.arms.pop(0)
    assert plan(config)[2].folder == tmp_path / "arms" / "base" / "sums"
    assert folder_name("RL + vote of 8") == "rl-vote-of-8"


def test_a_comparison_ends_with_its_verdicts_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(trained_run(tmp_path / "run", tokens=(100, 23)))
    sampler = run(comparison(tmp_path / "out", model))
    assert sampler.opened == ["", model] and len(sampler.done) == 6
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["sums (in-domain)", "legs (out-of-domain)", "report"]
    assert printed[-1] == f"report: {tmp_path / 'out' / 'report' / 'index.html'}"
    found = json.loads((tmp_path / "out" / "report" / "summary.json").read_text())
    assert [(arm["name"], arm["task"], arm["accuracy"], arm["training_tokens"]) for arm in found["arms"]] == [
        (name, task, accuracy, tokens)
        for task in ("sums", "legs")
        for name, accuracy, tokens in (("base", 0.5, 0), ("vote of 4", 0.5, 0), ("RL", 1.0, 123))
    ]


def test_what_has_been_sampled_is_not_sampled_again_and_what_was_cut_short_goes_on(tmp_path: Path) -> None:
    config = comparison(tmp_path / "out", str(trained_run(tmp_path / "run")))
    run(config)
    report = (tmp_path / "out" / "report" / "index.html").read_bytes()
    (tmp_path / "out" / "arms" / "vote-of-4" / "legs" / "summary.json").unlink()
    assert run(config).done == ["vote of 4 on legs"]
    assert run(config).done == []
    assert (tmp_path / "out" / "report" / "index.html").read_bytes() == report


def test_samples_of_another_config_or_of_other_weights_are_refused(tmp_path: Path) -> None:
    model = trained_run(tmp_path / "run")
    run(comparison(tmp_path / "out", str(model)))
    changed = comparison(tmp_path / "out", str(model))
    changed.arms[1].num_samples = 3
    with pytest.raises(UserError, match="vote-of-4/sums holds samples of another config"):
        run(changed)
    (model / "model" / "model.safetensors").write_text("trained further")
    with pytest.raises(UserError, match="rl/sums holds .* drawn from something else: model changed since"):
        run(comparison(tmp_path / "out", str(model)))


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    model = trained_run(tmp_path / "run")
    with pytest.raises(UserError, match="run holds something else than a comparison"):
        run(comparison(model, str(model)))


def test_a_job_is_what_zerokl_sample_would_be_given(tmp_path: Path) -> None:
    model = trained_run(tmp_path / "run")
    config = comparison(tmp_path / "out", str(model))
    jobs = plan(config)
    trained, base = sample_config(config, jobs[-1]), sample_config(config, jobs[0])
    assert (trained.model.path, trained.base_model) == (str(model / "model"), "tiny:llama")
    assert (base.model.path, base.base_model, base.seed, base.num_questions) == ("tiny:llama", "", 3, 12)
    assert trained.run.dir == str(tmp_path / "out" / "arms" / "rl" / "legs")
    assert not_done(jobs, Sampler(config)) == jobs


def test_a_depth_is_an_arms_and_completions_are_scored_at_the_bases(tmp_path: Path) -> None:
    model = trained_run(tmp_path / "run")
    config = comparison(tmp_path / "out", str(model))
    config.model.recurrence = 4
    config.arms[1].recurrence, config.arms[2].recurrence = 8, 2

    def models(place: int) -> tuple[ModelConfig, ModelConfig]:
        asked = sample_config(config, plan(config)[place])
        return asked.model, base_of(asked)

    assert models(0) == (ModelConfig("tiny:llama", 4), ModelConfig(""))
    assert models(2) == (ModelConfig("tiny:llama", 8), ModelConfig("tiny:llama", 4))
    assert models(4) == (ModelConfig(str(model / "model"), 2), ModelConfig("tiny:llama", 4))
