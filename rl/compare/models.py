"""What an arm's `model` means: the base, a run that has ended, or any other checkpoint."""

from pathlib import Path

from rl.errors import UserError
from rl.ledger import read_ledger
from rl.resume import TRAIN, kind_of
from rl.run_folder import RunFolder


def checkpoint(model: str) -> str:
    """What `model.path` takes; for a run's folder the checkpoint inside. Empty, which is the base, stays empty.

    Raises UserError where `model` is a path at which nothing lies, or a run that has not ended.
    """
    if not model:
        return ""
    run = RunFolder(Path(model))
    if run.config_path.is_file() and not (run.path / "config.json").is_file():
        if not run.model_dir.is_dir():
            raise UserError(
                f"the run in {model} has not ended, so it has no model/ yet; `zerokl resume {model}` goes on"
            )
        return str(run.model_dir)
    if _is_missing_path(model):
        raise UserError(f"there is no checkpoint at {model}; train it first, give another folder, or take the arm out")
    return model


def training_run(model: str) -> RunFolder | None:
    """The run of `zerokl train` that `model`, its folder or its `model/`, came out of; None where none is seen."""
    path = Path(model)
    for folder in (path, path.parent) if path.name == "model" else (path,):
        run = RunFolder(folder)
        if run.config_path.is_file() and run.ledger_path.is_file() and kind_of(folder) == TRAIN:
            return run
    return None


def training_tokens(model: str) -> int | None:
    """Tokens that were sampled to train `model`, by its run's ledger; 0 for the base, None where no ledger tells."""
    if not model:
        return 0
    run = training_run(model)
    return sum(int(record["num_tokens"]) for record in read_ledger(run.ledger_path)) if run else None


def _is_missing_path(model: str) -> bool:
    """Whether `model` is a path and nothing lies there. `org/name` is one where `org` is a folder here, or `runs`."""
    path = Path(model)
    if path.exists() or model.startswith(("package:", "tiny:")):
        return False
    is_hub_name = len(path.parts) == 2 and not model.startswith((".", "/", "runs/"))
    return not is_hub_name or path.parent.is_dir()
