"""The compiled CPU ops that ship inside vLLM's wheel, loaded without importing vLLM.

Engine and trainer call the very same machine code, and the trainer's process stays free of vLLM, whose Transformers
backend decorates Hugging Face classes.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import torch


@functools.cache
def cpu_ops() -> Any:
    """The `torch.ops._C` namespace with vLLM's CPU kernels registered.

    Raises RuntimeError when vLLM's CPU build is not installed.
    """
    if not hasattr(torch.ops._C, "onednn_mm"):
        torch.ops.load_library(str(_library_path()))
    return torch.ops._C


def vector_isa() -> str:
    """The instruction set whose build of the kernels this machine runs: `avx512_bf16`, `avx512` or `avx2`."""
    if not torch.cpu._is_avx512_supported():
        return "avx2"
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else "avx512"


def has_fast_bfloat16() -> bool:
    """True where the CPU multiplies bf16 natively; elsewhere bf16 is emulated and several times slower than fp32."""
    return vector_isa() == "avx512_bf16"


def _library_path() -> Path:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise RuntimeError("the canonical CPU ops come from vLLM's CPU build, which is not installed; run make setup")
    # The same choice as vllm.platforms.cpu.CpuPlatform.import_kernels, so that both sides run one build.
    name = {"avx512_bf16": "_C", "avx512": "_C_AVX512", "avx2": "_C_AVX2"}[vector_isa()]
    path = Path(spec.origin).parent / f"{name}.abi3.so"
    if not path.exists():
        raise RuntimeError(f"vLLM is installed without its CPU kernels ({path.name}); run make setup")
    return path
