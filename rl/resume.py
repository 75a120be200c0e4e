"""Goes on with a run of any kind; its config says which, in `kind`. A run of `zerokl train` has none."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from rl.errors import UserError
from rl.folder_lock import locked
from rl.run_folder import RunFolder

TRAIN = "train"
RESUMERS = {
    "pretrain": "rl.pretrain.run:resume",
    "train-prm": "rl.prm.run:resume",
}
"""Import path of the function that goes on, by kind."""
LEFT_BY = {"data/config.yaml": "train-prm", "samples.jsonl": "sample", "arms": "compare"}
"""The command by what no other leaves in a folder."""


def kind_of(run_dir: Path) -> str:
    """The command that began the run: `train`, or one of `RESUMERS`. Raises UserError where there is no run."""
    folder = RunFolder(run_dir)
    folder.require()
    try:
        config = yaml.safe_load(folder.config_path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return TRAIN  # whoever reads the config says what is wrong with it
    return str(config.get("kind", TRAIN)) if isinstance(config, dict) else TRAIN


def require_kind(run_dir: Path, kind: str) -> None:
    """Nothing; raises UserError where the run was begun by another command than `zerokl KIND`."""
    found = kind_of(run_dir)
    if found != kind:
        raise UserError(f"{run_dir} is a run of `zerokl {found}`, and this takes one of `zerokl {kind}`")


def require_no_other(run_dir: Path, kind: str) -> None:
    """Nothing; raises UserError where another command than `zerokl KIND` has worked in the folder."""
    found = [command for name, command in LEFT_BY.items() if (run_dir / name).exists()]
    if RunFolder(run_dir).config_path.is_file():
        found.append(kind_of(run_dir))
    for command in found:
        if command != kind:
            raise UserError(
                f"{run_dir} holds what `zerokl {command}` left, which `zerokl {kind}` would write over; give another "
                "folder with run.dir=…"
            )


def resume(run_dir: Path, overrides: Sequence[str], allow_contract_change: bool) -> None:
    """Nothing; a run of one of `RESUMERS` has ended, or was stopped, and said so on stdout."""
    kind = kind_of(run_dir)
    if kind not in RESUMERS:
        raise UserError(f"{run_dir}/config.yaml: kind must be {' or '.join(RESUMERS)}, got {kind!r}")
    module, _, name = RESUMERS[kind].partition(":")
    with locked(run_dir):
        getattr(importlib.import_module(module), name)(run_dir, overrides, allow_contract_change)
