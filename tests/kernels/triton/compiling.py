"""Compiles kernels for a GPU that need not be there. Import it first: then they are compiled and not interpreted.

For scripts that are run in a process of their own, as `python SCRIPT COMPUTE_CAPABILITY`.
"""

import sys
from unittest.mock import patch

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

with patch("torch.cuda.is_available", return_value=True):
    import kernels.triton.runtime  # noqa: F401


def compiled(function, types, constants, options):
    """Instructions and bytes of shared memory. types: of the arguments that are no constants, as Triton writes them."""
    runtime = iter(types.split())
    signature = {name: "constexpr" if name in constants else next(runtime) for name in function.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=aligned)
    kernel = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options=options)
    body = [line.strip().split() for line in kernel.asm["ptx"].splitlines() if line.startswith(("\t", " "))]
    names = {word for line in body for word in line[:2] if "." in word and not word.startswith((".", "%"))}
    return {"instructions": sorted(names), "shared_bytes": kernel.metadata.shared}
