"""The configs that go from a pre-trained model to GRPO and to a comparison fit each other."""

from rl.compare.config import load_compare_config
from rl.config import load_config
from rl.data.config import sources_of
from rl.pretrain.config import load_pretrain_config

from ..commands import REPO

CONFIGS = REPO / "configs"


def test_grpo_goes_on_where_pre_training_ended_and_is_compared_on_what_it_held_out() -> None:
    pretraining = load_pretrain_config(CONFIGS / "recurrent.yaml")
    training = load_config(CONFIGS / "recurrent_grpo.yaml")
    comparison = load_compare_config(CONFIGS / "depth.yaml")
    assert training.model.path == comparison.model.path == f"{pretraining.run.dir}/model"
    assert training.data.params["modulus"] == pretraining.data.params["modulus"]
    assert training.rollout.max_model_len <= pretraining.model.max_length
    assert {arm.model for arm in comparison.arms} == {"", training.run.dir}
    (own,) = [task for task in comparison.tasks if task.in_domain]
    assert sources_of(own.data) == sources_of(training.data) and comparison.seed == training.seed
    assert own.num_questions <= training.data.num_held_out
