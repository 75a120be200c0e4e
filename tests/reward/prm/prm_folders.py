"""A PRM's folder over the tiny model, its head at random."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from kernels import seam
from kernels.certify import certify_linear
from reward.prm.model import HEAD_FILE, PRMSettings, QuantilePRM, save_prm
from rl.tiny_model import tiny_model, tiny_tokenizer


def write_prm(folder: Path, settings: PRMSettings = PRMSettings()) -> Path:  # noqa: B008, it is frozen
    """The folder."""
    tokenizer = tiny_tokenizer()
    backbone = tiny_model("llama", tokenizer, seed=0)
    seam.install(backbone, certify_linear(seam.linear_shapes(backbone), torch.float32))
    model = QuantilePRM.over(backbone, settings, [0.5] * settings.make_family().num_parameters)
    save_prm(model, folder)
    head = load_file(folder / HEAD_FILE)
    head["weight"].normal_(generator=torch.Generator().manual_seed(1)).mul_(0.2)
    save_file(head, folder / HEAD_FILE)
    tokenizer.save_pretrained(folder)
    return folder
