"""A process reward model of random weights over the tiny policy's vocabulary: nothing it says is true."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from reward.prm.model import HEAD_FILE, SETTINGS_FILE, PRMSettings


def write_tiny_prm(folder: Path, model_dir: Path, separator: str = "e") -> Path:
    """The folder, with the checkpoint in `model_dir` for a backbone; a step ends with `separator`."""
    shutil.copytree(model_dir, folder)
    settings = PRMSettings(separator=separator)
    hidden_size = json.loads((model_dir / "config.json").read_text())["hidden_size"]
    shape = settings.make_family().num_parameters, hidden_size
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.3
    save_file({"weight": weight, "bias": torch.zeros(shape[0])}, folder / HEAD_FILE)
    (folder / SETTINGS_FILE).write_text(json.dumps(asdict(settings)))
    return folder
