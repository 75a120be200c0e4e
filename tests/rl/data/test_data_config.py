import pytest

from rl.config import ConfigError, load_config, render_config, save_config
from rl.data.config import DataConfig, SourceConfig, data_problems, source_names, sources_of

MINIMAL = """
model: {path: some/model}
data:
  sources:
    - {task: chain_sum, params: {min_terms: 2}, weight: 2}
    - {jsonl: sums.jsonl, prompt: question, held_out: test.jsonl}
    - {dataset: openai/gsm8k, config: main, split: "train[:100]", held_out: test, answer_after: "####"}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "small.yaml").write_text(MINIMAL)
    return tmp_path / "small.yaml"


def problems(*sources, **data):
    return list(data_problems(DataConfig(sources=list(sources), **data)))


def test_the_short_form_is_one_source():
    assert sources_of(DataConfig(task="leg_counting", params={"a": 1})) == {
        "data": SourceConfig(task="leg_counting", params={"a": 1})
    }
    assert sources_of(DataConfig()) == {"data": SourceConfig(task="chain_sum")}


def test_sources_are_read_from_a_file_and_written_back(path):
    config = load_config(path, ["data.sources.0.weight=3"])
    assert list(sources_of(config.data)) == ["data.sources.0", "data.sources.1", "data.sources.2"]
    assert config.data.sources[0] == SourceConfig(task="chain_sum", params={"min_terms": 2}, weight=3.0)
    assert config.data.sources[2].answer_after == "####"
    save_config(config, path.with_name("config.yaml"))
    assert load_config(path.with_name("config.yaml")) == config
    assert path.with_name("config.yaml").read_text() == render_config(config)


def test_the_task_that_is_taken_without_any_is_written_out_when_a_config_is_loaded(path):
    assert load_config(path).data.task == ""
    path.write_text("model: {path: some/model}")
    assert load_config(path).data.task == "chain_sum"


def test_an_unknown_key_of_a_source_is_named_with_the_nearest(path):
    with pytest.raises(ConfigError, match="no key data.sources.0.wieght; did you mean data.sources.0.weight?"):
        path.write_text(MINIMAL.replace("weight", "wieght"))
        load_config(path)


def test_what_is_wrong_with_sources_is_told_when_the_config_is_loaded(path):
    with pytest.raises(ConfigError, match="data.sources.1 must have exactly one of task, jsonl, dataset"):
        load_config(path, ["data.sources.1.task=chain_sum"])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (SourceConfig(task="chain_sum"), "chain_sum"),
        (SourceConfig(jsonl="some/folder/sums.v2.jsonl"), "sums.v2"),
        (SourceConfig(dataset="openai/gsm8k-v1.5"), "gsm8k-v1.5"),
    ],
)
def test_a_source_is_called_after_what_it_is(source, name):
    assert source_names(DataConfig(sources=[source])) == [name]


def test_names_are_always_different():
    config = DataConfig(sources=[SourceConfig(jsonl=f"{name}.jsonl") for name in ("a", "1-a", "a")])
    assert source_names(config) == ["0-a", "1-1-a", "2-a"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SourceConfig(), "data.sources.0 must have exactly one of task, jsonl, dataset, got none"),
        (SourceConfig(task="a", jsonl="b"), "exactly one of task, jsonl, dataset, got task and jsonl"),
        (SourceConfig(task="a", weight=0.0), "data.sources.0.weight must be a number above 0, got 0.0"),
        (SourceConfig(task="a", weight=-1.0), "data.sources.0.weight must be a number above 0, got -1.0"),
        (SourceConfig(task="a", weight=float("nan")), "data.sources.0.weight must be a number above 0, got nan"),
        (SourceConfig(task="a", weight=float("inf")), "data.sources.0.weight must be a number above 0, got inf"),
        (SourceConfig(jsonl="a", params={"x": 1}), "data.sources.0.params means nothing for a jsonl, only for a task"),
        (SourceConfig(jsonl="a", split="test"), "data.sources.0.split means nothing for a jsonl, only for a dataset"),
        (SourceConfig(task="a", held_out="b"), "means nothing for a task, only for a jsonl or dataset"),
        (SourceConfig(task="a", prompt="b"), "data.sources.0.prompt means nothing for a task"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(source, said):
    (problem,) = problems(source)
    assert said in problem


def test_short_form_and_list_exclude_each_other():
    said = "data.task and data.params are short for one source, and data.sources is given too; move them into it"
    assert problems(SourceConfig(task="a"), task="b") == [said]
    assert problems(SourceConfig(task="a"), params={"b": 1}) == [said]


def test_sources_that_are_right_have_no_problems():
    assert problems(SourceConfig(task="a", params={"x": 1}), SourceConfig(dataset="b", split="c", held_out="d")) == []
    assert problems(task="a", params={"x": 1}) == []
