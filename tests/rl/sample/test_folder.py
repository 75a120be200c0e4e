"""What a sampling leaves."""

from dataclasses import replace

import pytest

from rl.errors import UserError
from rl.sample.folder import Candidate, ChunkEffort, QuestionSamples, SampleFolder, Settings

SETTINGS = Settings("seed: 0\n", {"model": {"model.safetensors": "ab"}, "questions": "cd"})
SAMPLES = QuestionSamples(
    "held_out/0/3",
    (Candidate((1, 2), "12", "12", True, False, -0.1), Candidate((3,), "", None, False, True, None)),
    returned=(1,),
    sampled_tokens=9,
    scored_tokens=0,
)


def test_a_question_is_read_back_as_it_was_written(tmp_path):
    folder = SampleFolder(tmp_path / "samples")
    assert folder.open(SETTINGS) == 0
    folder.append(SAMPLES)
    assert folder.questions() == [SAMPLES]
    assert not folder.is_complete


def test_a_line_that_was_cut_short_is_done_again(tmp_path):
    folder = SampleFolder(tmp_path)
    folder.open(SETTINGS)
    folder.append(SAMPLES)
    with folder.samples_path.open("a") as file:
        file.write('{"prompt_id": "held')
    assert folder.open(SETTINGS) == 1
    assert folder.questions() == [SAMPLES]


def begun(path, settings=SETTINGS):
    """A folder with a question in it."""
    folder = SampleFolder(path)
    folder.open(settings)
    folder.append(SAMPLES)
    return folder


def test_a_folder_with_samples_of_another_config_or_origin_is_left_alone(tmp_path):
    folder = begun(tmp_path)
    with pytest.raises(UserError, match="samples of another config"):
        folder.open(replace(SETTINGS, config="seed: 1\n"))
    with pytest.raises(UserError, match="drawn from something else: model changed since"):
        folder.open(replace(SETTINGS, origin={**SETTINGS.origin, "model": {"model.safetensors": "ef"}}))
    assert folder.config_path.read_text() == SETTINGS.config and folder.open(SETTINGS) == 1


def test_settings_may_change_until_something_was_sampled(tmp_path):
    folder = SampleFolder(tmp_path)
    folder.open(SETTINGS)
    assert folder.open(replace(SETTINGS, config="seed: 1\n")) == 0
    assert folder.config_path.read_text() == "seed: 1\n"


@pytest.mark.parametrize("name", ["config.yaml", "samples.jsonl"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("seed: 0\n")
    with pytest.raises(UserError, match="holds something else than a sampling"):
        SampleFolder(tmp_path).open(SETTINGS)


def test_who_does_the_work_may_change(tmp_path):
    folder = begun(tmp_path, Settings("seed: 0\nrun: {dir: a}\nrollout: {num_actors: 1, max_model_len: 9}\n", {}))
    assert folder.open(Settings("seed: 0\nrun: {dir: b}\nrollout: {num_actors: 2, max_model_len: 9}\n", {})) == 1
    with pytest.raises(UserError, match="another config"):
        folder.open(Settings("seed: 0\nrollout: {num_actors: 2, max_model_len: 8}\n", {}))


def test_candidates_that_were_given_up_are_not_completed():
    given_up, whole = replace(SAMPLES.candidates[0], stopped=True), SAMPLES.candidates[1]
    assert replace(SAMPLES, candidates=(given_up, whole)).completed == (whole,)
    assert replace(SAMPLES, candidates=(given_up,)).completed == (given_up,)


@pytest.mark.parametrize("line", ["{}", "[", '{"prompt_id": "a", "candidates": [], "returned": [0]}'])
def test_a_line_that_no_sampling_wrote_is_named(tmp_path, line):
    folder = SampleFolder(tmp_path)
    folder.samples_path.write_text(line + "\n")
    with pytest.raises(UserError, match="samples.jsonl, line 1: not what a sampling writes"):
        folder.questions()


def test_a_chunk_that_was_done_twice_counts_once(tmp_path):
    folder = SampleFolder(tmp_path)
    first, again, second = (
        ChunkEffort(start, 2, wall_s, 0, 0, 1.0) for start, wall_s in ((0, 5.0), (0, 3.0), (2, 1.0))
    )
    for effort in (first, again, second):
        folder.append_effort(effort)
    assert folder.efforts() == [again, second]
