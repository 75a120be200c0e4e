import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from kernels.recurrent.depth import Depth
from rl.errors import UserError
from rl.recurrent.checkpoint import at_recurrence, described, to_be_trained_at

TOKEN_IDS = torch.arange(20)[None] * 3 % 128


def test_the_checkpoint_as_it_is_stays_where_it_is(tiny_recurrent: Path, tmp_path: Path) -> None:
    assert at_recurrence(tiny_recurrent, None, tmp_path) == tiny_recurrent
    assert at_recurrence(tiny_recurrent, 2, tmp_path) == tiny_recurrent
    assert list(tmp_path.iterdir()) == []


def test_at_another_depth_it_has_the_same_weights_and_tokenizer(tiny_recurrent: Path, tmp_path: Path) -> None:
    folder = at_recurrence(tiny_recurrent, 5, tmp_path)
    shallow, deep = (AutoModelForCausalLM.from_pretrained(path) for path in (tiny_recurrent, folder))
    assert (deep.config.num_recurrences, deep.config.num_hidden_layers) == (5, 1 + 5 * 2 + 1)
    assert described(deep.config) == "recurrence 5: 1 + 5 x 2 + 1 = 12 layers"
    assert all(map(torch.equal, shallow.parameters(), deep.parameters()))
    with torch.no_grad():
        assert torch.equal(deep(TOKEN_IDS).logits, shallow(TOKEN_IDS, num_recurrences=5).logits)
    assert (folder / "tokenizer.json").read_bytes() == (tiny_recurrent / "tokenizer.json").read_bytes()
    assert at_recurrence(tiny_recurrent, 5, tmp_path) == folder


def test_a_checkpoint_that_was_changed_is_not_taken_for_the_old_one(tiny_recurrent: Path, tmp_path: Path) -> None:
    own = shutil.copytree(tiny_recurrent, tmp_path / "own")
    before = at_recurrence(own, 4, tmp_path)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    after = at_recurrence(own, 4, tmp_path)
    assert after != before
    assert json.loads((after / "config.json").read_text())["rms_norm_eps"] == 1e-3


def test_a_model_without_a_core_has_no_depth(tiny_model: Path, tmp_path: Path) -> None:
    assert at_recurrence(tiny_model, None, tmp_path) == tiny_model
    with pytest.raises(UserError, match="model.recurrence=4 needs a recurrent-depth checkpoint.*zerokl retrofit"):
        at_recurrence(tiny_model, 4, tmp_path)


def test_a_depth_below_1_is_refused(tiny_recurrent: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model.recurrence must be at least 1, got 0"):
        at_recurrence(tiny_recurrent, 0, tmp_path)


@pytest.mark.parametrize(
    ("recurrence", "said"), [(2, "under-run at 2"), (3, ""), (8, ""), (9, "over-run at 9"), (None, "under-run at 2")]
)
def test_a_depth_outside_of_training_is_warned_of(
    tiny_recurrent: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, recurrence: int | None, said: str
) -> None:
    own = shutil.copytree(tiny_recurrent, tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"trained_recurrences": [3, 8]}))
    with caplog.at_level(logging.WARNING):
        at_recurrence(own, recurrence, tmp_path)
    assert [said in message and "recurrences 3 to 8" in message for message in caplog.messages] == [True] * bool(said)


def test_a_warning_is_given_once(tiny_recurrent: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = shutil.copytree(tiny_recurrent, tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"trained_recurrences": [3, 8]}))
    with caplog.at_level(logging.WARNING):
        for recurrence in (9, 9, 1, 9):
            at_recurrence(own, recurrence, tmp_path)
    assert [message.rpartition(":")[0].rpartition(" is ")[2] for message in caplog.messages] == [
        "over-run at 9",
        "under-run at 1",
    ]


def test_to_be_trained_at_a_depth_it_says_so_and_nobody_is_warned(
    tiny_recurrent: Path, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = shutil.copytree(tiny_recurrent, tmp_path / "own")
    config = json.loads((own / "config.json").read_text()) | {"trained_recurrences": [1, 1], "num_backpropagated": 3}
    (own / "config.json").write_text(json.dumps(config))
    found = json.loads((to_be_trained_at(own, Depth(5), tmp_path) / "config.json").read_text())
    assert (found["num_recurrences"], found["num_backpropagated"]) == (5, None)
    assert to_be_trained_at(own, Depth(2, 3), tmp_path) == own
    assert to_be_trained_at(tiny_model, Depth(5), tmp_path) == tiny_model
    assert caplog.messages == []
