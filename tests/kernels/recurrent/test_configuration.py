import pytest

from kernels.recurrent.configuration import RecurrentDepthConfig


def test_every_run_of_a_core_layer_counts_as_a_layer() -> None:
    config = RecurrentDepthConfig(num_prelude_layers=2, num_core_layers=3, num_coda_layers=1, num_recurrences=5)
    assert config.num_hidden_layers == 2 + 5 * 3 + 1
    assert config.num_slots(1) == 6


def test_what_a_file_says_of_the_number_of_layers_is_not_believed() -> None:
    assert RecurrentDepthConfig(num_recurrences=8, num_hidden_layers=3).num_hidden_layers == 1 + 8 * 2 + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_core_layers": 0}, "at least 1 core layer.*num_core_layers=0"),
        ({"num_prelude_layers": -1}, "num_prelude_layers=-1"),
        ({"num_coda_layers": -1}, "num_coda_layers=-1"),
        ({"num_recurrences": 0}, "num_recurrences must be at least 1, got 0"),
        ({"num_backpropagated": 0}, "num_backpropagated must be at least 1, or None"),
        ({"initial_state": "learned", "num_backpropagated": 2}, "gets no gradient with num_backpropagated=2"),
        ({"initial_state": "noise"}, "zero or learned or prelude, got 'noise'"),
    ],
)
def test_what_makes_no_model_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentDepthConfig(**settings)
