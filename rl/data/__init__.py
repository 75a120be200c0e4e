"""Prompts to learn from and to be measured on.

    config ── sources ─┬─ gym.py     a reasoning-gym task, endless ─┐
                       ├─ jsonl.py   a file ──────┐                 ├─ dataset.py ── template.py ── Prompt
                       └─ hub.py     a data set ──┴─ table.py ──────┘     │
                                       held out by hash, epochs of     shares.py: whose turn it is
                                       order.py

Every batch is a pure function of the seed and the cursor: no file here keeps a state that a resumed run would lack.
"""

from rl.data.config import DataConfig, SourceConfig, source_names, sources_of
from rl.data.dataset import Data, load_data, load_held_out
from rl.data.limit import Limited
from rl.data.types import Dataset

__all__ = [
    "Data",
    "DataConfig",
    "Dataset",
    "Limited",
    "SourceConfig",
    "load_data",
    "load_held_out",
    "source_names",
    "sources_of",
]
