import pytest

from reward.prm.model import HEAD_FILE, PRMSettings
from reward.prm.pool import dealt_out
from reward.prm.serving import check_prm, open_step_scorer, prm_files, prm_folder
from reward.prm.steps import StepInput
from rl.tiny_model import tiny_tokenizer, write_tiny
from rollout.search.stepwise import Reading
from rollout.types import Prompt

from .prm_folders import write_prm

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def prm(tmp_path_factory):
    return write_prm(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    write_tiny("llama", folder / "checkpoint", seed=3)
    path = folder / "prm.yaml"
    path.write_text(f"model: {folder / 'checkpoint'}\nkind: plus_minus\nformat: plain\nstep_token: '#'\n")
    return path


def test_a_prm_is_found_in_its_folder_and_in_its_run(prm):
    assert check_prm(str(prm), TOKENIZER) == PRMSettings().levels
    assert prm_folder(str(prm)) == prm_folder(str(prm.parent)) == prm


def test_a_prm_of_others_is_found_by_its_yaml(others):
    assert check_prm(str(others), TOKENIZER) == (0.5,)
    assert prm_folder(str(others)) == others.parent / "checkpoint"
    assert others in prm_files(str(others))


def test_the_files_that_decide_scores_are_listed(prm):
    (prm / "calibration.json").write_text("{}")
    (prm / "README.md").write_text("")
    names = [file.name for file in prm_files(str(prm))]
    assert {"config.json", "model.safetensors", "prm.json", HEAD_FILE, "tokenizer.json"} <= set(names)
    assert not {"calibration.json", "README.md"} & set(names)


def test_paths_that_lead_to_no_prm_are_refused(tmp_path, others):
    with pytest.raises(ValueError, match="is no process reward model; give the folder that `zerokl train-prm` left"):
        check_prm(str(tmp_path), TOKENIZER)
    with pytest.raises(ValueError, match="cannot be read"):
        check_prm(str(tmp_path / "missing.yaml"), TOKENIZER)
    missing = tmp_path / "prm.yaml"
    missing.write_text("model: nowhere\nkind: plus_minus\n")
    with pytest.raises(ValueError, match="model 'nowhere' is no folder with a Hugging Face checkpoint"):
        check_prm(str(missing), TOKENIZER)


def test_work_is_dealt_out_by_question_and_evenly():
    def given(question, length):
        return StepInput((question, *range(length)), (0, length), (0, length))

    inputs = [given(1, 50), given(2, 10), given(1, 5), given(3, 30), given(4, 20)]
    assert [sorted(share) for share in dealt_out(inputs, 2)] == [[0, 2], [1, 3, 4]]
    assert dealt_out(inputs[:1], 3) == [[0], [], []]


@pytest.mark.engine
def test_actors_score_as_one_process_does_to_the_bit_and_a_lost_one_is_replaced(prm, ray_session):
    import ray

    from reward.prm.own import OwnModel, OwnReader
    from reward.prm.scorer import BatchedStepScorer

    asked = [
        Reading(Prompt(f"q/{i}", "", tuple(TOKENIZER.encode(f"{i} + {i} = ")), {}), tuple(TOKENIZER.encode("4\nso\n")))
        for i in range(5)
    ]
    expected = BatchedStepScorer(OwnReader(PRMSettings(), TOKENIZER), OwnModel.load(prm).read).score(asked)
    said = []
    with open_step_scorer(str(prm), TOKENIZER, num_actors=2, say=said.append) as scorer:
        assert scorer.score(asked) == expected
        ray.kill(scorer._pool._actors[0])
        assert scorer.score(asked) == expected
    assert ["scorer 0 was lost" in line for line in said] == [True]
