from pathlib import Path

from rl.ledger import Ledger, chain, read_ledger
from rl.progress import step_line
from rl.run_folder import RunFolder
from rl.supervised.batches import digest_examples
from rl.supervised.records import recorded_figures, step_metrics, step_record, step_view
from rl.supervised.types import StepResult, cut_into_batch
from rollout.types import PolicyVersion

from .examples import Counting, words

BATCH = cut_into_batch(words(4), Counting(), step=1, seed=0, num_shards=2)
RESULT = StepResult(1.5, 0.5, "9radient", PolicyVersion(1, "we1ghts"), {"forward": 0.25})


def test_a_step_is_a_line_of_a_ledger_that_reads_back(tmp_path: Path) -> None:
    record = step_record("c0ntract", BATCH, RESULT, "")
    path = tmp_path / "ledger.jsonl"
    final_hash = Ledger(path).append(record)
    assert read_ledger(path) == [chain(record, "0" * 64)]
    assert read_ledger(path)[0] | {"prev": "", "hash": ""} == {
        **{"step": 1, "contract": "c0ntract", "batch": digest_examples(words(4)), "num_tokens": 12},
        **{"loss_bits": "0x3fc00000", "grad_norm_bits": "0x3f000000", "gradient": "9radient", "weights": "we1ghts"},
        **{"prev": "", "hash": ""},
    }
    assert Ledger(path).last_hash == final_hash


def test_a_changed_contract_is_said_in_the_line() -> None:
    assert chain(step_record("c", BATCH, RESULT, "seed: 0 -> 1"), "0" * 64)["contract_change"] == "seed: 0 -> 1"


def test_metrics_name_what_was_learned_and_where_the_time_went() -> None:
    metrics = step_metrics(BATCH, RESULT, 1e-3, {"train": 3.0, "ledger": 1.0})
    assert metrics["train/loss"] == 1.5 and metrics["train/learning_rate"] == 1e-3
    assert (metrics["speed/step_s"], metrics["speed/tokens_per_s"]) == (4.0, 3.0)
    assert (metrics["time/train_s"], metrics["time/train_forward_s"]) == (3.0, 0.25)


def test_what_was_measured_is_told_from_what_a_step_was(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics(0, {"held_out/accuracy": 0.25})
    folder.append_metrics(1, {"train/loss": 1.0})
    folder.append_metrics(1, {"held_out/accuracy": 0.75})
    folder.append_metrics(2, {"train/loss": 0.5})
    assert [recorded_figures(folder, step).get("held_out/accuracy") for step in (0, 1, 2)] == [0.25, 0.75, None]


def test_a_step_is_one_plain_line() -> None:
    view = step_view(BATCH, RESULT, 4.0, {"held_out/accuracy": 0.75})
    assert step_line(view, 40, 540.0) == (
        "step   1/40  loss 1.5000  grad norm 0.500  held_out/accuracy 0.750  3 tok/s  4.00 s  9 min left"
    )
    assert "held_out" not in step_line(step_view(BATCH, RESULT, 4.0, {}), 40, 540.0)
