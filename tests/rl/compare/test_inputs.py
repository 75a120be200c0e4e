from pathlib import Path

import pytest

from rl.compare.inputs import require_inputs
from rl.errors import UserError

from .folders import comparison


def test_models_and_questions_that_cannot_be_had_are_named_together(tiny_model: Path, tmp_path: Path) -> None:
    config = comparison(tmp_path, model=str(tmp_path))
    config.model.path = str(tiny_model)
    config.rollout.max_model_len = 70
    config.tasks[1].data.params = {"min_animal": 1}
    with pytest.raises(UserError) as caught:
        require_inputs(config)
    no_checkpoint, too_long, no_parameter = str(caught.value).splitlines()
    assert "has no config.json" in no_checkpoint
    assert too_long.startswith("task sums: the longest question has ") and "max_model_len=70" in too_long
    assert "no parameter 'min_animal'" in no_parameter
    config = comparison(tmp_path)
    config.model.path = str(tiny_model)
    require_inputs(config)
