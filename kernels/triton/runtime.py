"""Where the Triton kernels run: on the CUDA device or, where there is none, in Triton's interpreter on the CPU.

Every module with a kernel imports this one first: `@triton.jit` asks which of the two it is when it decorates.
"""

import importlib
import os

import torch
import triton
import triton.language as tl

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Where tensors given to the kernels live."""


def _interpret() -> None:
    """Lets `@triton.jit` hand out interpreted functions in this process, and in none that it starts."""
    inherited = os.environ.get("TRITON_INTERPRET")
    triton.knobs.runtime.interpret = True  # also writes the environment variable
    if inherited is None:
        os.environ.pop("TRITON_INTERPRET", None)
    # Triton's own functions (tl.sum, tl.zeros, …) were decorated when somebody first imported it.
    importlib.reload(tl.standard)
    importlib.reload(tl)


if DEVICE == "cpu":
    _interpret()

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
"""For conditions inside kernels: the interpreter has gaps that a GPU has not (`kernels.triton.primitives`)."""
