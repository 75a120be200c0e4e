"""The commands that configs open with can be given: their keys are known, and no two write into one folder."""

import collections
import re
from collections.abc import Callable
from typing import Any

import pytest

from rl.compare.config import load_compare_config
from rl.config import load_config
from rl.pretrain.config import load_pretrain_config
from rl.prm.config import load_prm_config
from rl.sample.config import load_sample_config

from .commands import REPO

LOADERS: dict[str, Callable[..., Any]] = {
    "train": load_config,
    "pretrain": load_pretrain_config,
    "train-prm": load_prm_config,
    "sample": load_sample_config,
    "compare": load_compare_config,
}
FILES = sorted((REPO / "configs").glob("*.yaml"))
COMMAND = re.compile(rf"^#\s+zerokl ({'|'.join(LOADERS)}) (configs/\S+\.yaml)(.*)$", re.MULTILINE)
COMMANDS = sorted({match for path in FILES for match in COMMAND.findall(path.read_text())})


def run_dir(command: str, path: str, overrides: str) -> str:
    config = LOADERS[command](REPO / path, overrides.split())
    return str(config.run.dir)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_opens_with_a_command_that_runs_it(path: Any) -> None:
    assert path.relative_to(REPO).as_posix() in {named for _, named, _ in COMMAND.findall(path.read_text())}
    assert path.read_text().startswith("# zerokl ")


@pytest.mark.parametrize(("command", "path", "overrides"), COMMANDS)
def test_the_command_is_understood(command: str, path: str, overrides: str) -> None:
    assert run_dir(command, path, overrides)


def test_no_two_commands_write_into_one_folder() -> None:
    dirs = collections.Counter(run_dir(*command) for command in COMMANDS)
    assert set(dirs.values()) == {1}, dirs
