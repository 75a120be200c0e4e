"""Hugging Face data sets: by name on the hub, or from a folder."""

from pathlib import Path
from typing import Any

from rl.data.config import SourceConfig
from rl.data.nearest import nearest
from rl.data.rows import Row
from rl.errors import UserError


def read_hub(source: SourceConfig, split: str, key: str) -> list[Row]:
    """The rows of one split of `source.dataset`, in order.

    Raises UserError where there is no such data set, configuration or split, or where the hub cannot be reached.
    """
    rows = _load(source, split, key)
    if not len(rows):
        raise UserError(f"{key}.dataset: {source.dataset}, split {split} is empty")
    return [Row(i, f"{source.dataset}, split {split}, row {i}", values) for i, values in enumerate(rows)]


def _load(source: SourceConfig, split: str, key: str) -> Any:
    import datasets
    from huggingface_hub.errors import HTTPError  # of its HTTP client: not every one of those is an OSError

    try:
        if _is_saved(Path(source.dataset)):
            saved = datasets.load_from_disk(source.dataset)
        else:
            return datasets.load_dataset(source.dataset, source.config or None, split=split)
    # IndexError: datasets 5.2 does not read back what it saved of a data set without rows.
    except (OSError, RuntimeError, ValueError, IndexError, datasets.exceptions.DatasetsError, HTTPError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{key}.dataset: {source.dataset!r} (config {source.config or 'not set'}, split {split}) could not be "
            f"had: {reason}; check the name and the connection, or save it to a folder where there is one and "
            "name that"
        ) from error
    return _split_of(saved, source.dataset, split, key)


def _is_saved(folder: Path) -> bool:
    """True for what `save_to_disk` wrote, which `load_dataset` refuses."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _split_of(saved: Any, name: str, split: str, key: str) -> Any:
    """The split of a `DatasetDict`, or a `Dataset` saved by itself where it is that split or says nothing of one."""
    if not isinstance(saved, dict):
        saved = {str(saved.split or split): saved}
    if split not in saved:
        raise UserError(f"{key}: {name} has no split {split!r}{nearest(split, saved)}; it has {', '.join(saved)}")
    return saved[split]
