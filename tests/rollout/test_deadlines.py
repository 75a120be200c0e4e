from pathlib import Path

import pytest

from rollout.deadlines import Deadlines, deadlines_of, model_bytes

GB = 10**9
ONE_BILLION = Deadlines(least_s=100, model_bytes=2 * GB)


def test_without_a_model_every_call_may_take_the_least_there_is() -> None:
    none = Deadlines(least_s=7)
    assert [none.move_s(), none.sample_s(1000), none.train_s(1000)] == [7, 7, 7]


def test_moving_a_model_follows_from_its_bytes() -> None:
    assert ONE_BILLION.move_s() == 100 + 2 * GB / 20e6
    assert ONE_BILLION.move_s(copies=6) == 100 + 12 * GB / 20e6


def test_starting_a_process_has_time_to_come_up_besides() -> None:
    assert ONE_BILLION.start_s() == 180 + ONE_BILLION.move_s()


def test_sampling_follows_from_weights_and_tokens() -> None:
    assert ONE_BILLION.sample_s(500) == pytest.approx(100 + 500 * 2 * GB / 5e9)


def test_training_on_a_token_may_take_five_times_as_long_as_sampling_it() -> None:
    nothing = ONE_BILLION.train_s(0)
    assert ONE_BILLION.train_s(500) - nothing == pytest.approx(5 * (ONE_BILLION.sample_s(500) - 100))


def test_the_bytes_of_a_model_are_those_of_its_weights(tmp_path: Path) -> None:
    for name, size in {"model-1.safetensors": 30, "model-2.safetensors": 12, "tokenizer.json": 99}.items():
        (tmp_path / name).write_bytes(b"\0" * size)
    assert model_bytes(tmp_path) == 42


def test_a_core_that_is_run_again_meets_its_weights_as_often(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 1000)
    assert deadlines_of(7, tmp_path) == Deadlines(7, 1000)
    (tmp_path / "config.json").write_text('{"num_recurrences": 8}')
    deep = deadlines_of(7, tmp_path)
    assert deep.sample_s(500) - 7 == pytest.approx(8 * (Deadlines(7, 1000).sample_s(500) - 7))
    assert deep.move_s() == Deadlines(7, 1000).move_s()
