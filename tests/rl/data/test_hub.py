import datasets
import pytest

from rl.data.config import SourceConfig
from rl.data.hub import read_hub
from rl.errors import UserError

ROWS = {"question": ["1 + 1", "2 + 2"], "answer": ["2", "4"]}


@pytest.fixture
def saved(tmp_path):
    """A folder as `save_to_disk` leaves it, with two splits."""
    table = datasets.Dataset.from_dict(ROWS)
    datasets.DatasetDict(train=table, test=table.select([1])).save_to_disk(tmp_path / "sums")
    return str(tmp_path / "sums")


def read(name, split="train", **source):
    return read_hub(SourceConfig(dataset=name, prompt="question", **source), split, "data.sources.0")


def complaint(name, split="train", **source):
    with pytest.raises(UserError) as caught:
        read(name, split, **source)
    return str(caught.value)


def test_rows_of_a_split_know_where_they_stand(saved):
    rows = read(saved)
    assert [row.values for row in rows] == [{"question": "1 + 1", "answer": "2"}, {"question": "2 + 2", "answer": "4"}]
    assert [(row.index, row.where) for row in rows] == [(i, f"{saved}, split train, row {i}") for i in range(2)]
    assert [row.values["answer"] for row in read(saved, "test")] == ["4"]


def test_a_data_set_saved_without_splits_is_the_split_that_is_asked_for(tmp_path):
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "sums")
    assert len(read(str(tmp_path / "sums"))) == 2


def test_a_split_that_is_not_there_is_named_with_those_that_are(saved):
    assert complaint(saved, "tset") == (
        f"data.sources.0: {saved} has no split 'tset', did you mean 'test'?; it has train, test"
    )


def test_an_empty_split_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict({"prompt": []}))
    assert complaint("some/name") == "data.sources.0.dataset: some/name, split train is empty"


def test_an_empty_split_that_was_saved_is_refused(tmp_path):
    datasets.Dataset.from_dict({"prompt": []}).save_to_disk(tmp_path / "none")
    assert f"{str(tmp_path / 'none')!r} (config not set, split train) could not be had" in complaint(
        str(tmp_path / "none")
    )


def test_a_name_is_loaded_from_the_hub_with_its_configuration_and_split(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **named: asked.append((given, named)) or [{"a": 1}])
    assert [row.values for row in read("openai/gsm8k", "train[:10]", config="main")] == [{"a": 1}]
    assert [row.where for row in read("openai/gsm8k", "test")] == ["openai/gsm8k, split test, row 0"]
    assert asked == [
        (("openai/gsm8k", "main"), {"split": "train[:10]"}),
        (("openai/gsm8k", None), {"split": "test"}),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub (ConnectError)"), "Couldn't reach 'openai/gsm8k'"),
        (datasets.exceptions.DatasetNotFoundError("Dataset doesn't exist on the Hub"), "Dataset doesn't exist on the"),
        (ValueError("Unknown split \"tset\". Should be one of ['train', 'test'].\nmore"), "one of ['train', 'test'].;"),
        (datasets.exceptions.DatasetGenerationError(), "DatasetGenerationError;"),
        (RuntimeError("Dataset scripts are no longer supported"), "Dataset scripts are no longer supported"),
    ],
)
def test_what_the_hub_does_not_give_is_told_with_the_reason_and_the_remedy(monkeypatch, error, reason):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    said = complaint("openai/gsm8k", config="main")
    assert said.startswith("data.sources.0.dataset: 'openai/gsm8k' (config main, split train) could not be had: ")
    assert reason in said
    assert said.endswith("check the name and the connection, or save it to a folder where there is one and name that")


def test_data_sets_are_asked_like_files(load, saved):
    source = SourceConfig(dataset=saved, prompt="question", held_out="test")
    data = load(source, num_held_out=1)
    assert [(prompt.id, prompt.text) for prompt in data.held_out.batch(0, 1)] == [("held_out/0/0", "2 + 2")]
    prompts = data.train.batch(0, 2)
    assert [(prompt.id, prompt.text) for prompt in prompts] == [("train/0/0", "1 + 1"), ("train/1/0", "1 + 1")]
    assert prompts[0].columns == {"answer": "2"}
