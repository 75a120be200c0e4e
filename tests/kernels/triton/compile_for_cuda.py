"""Compiles the kernels for a GPU that need not be there, and prints as JSON what is in each.

    python compile_for_cuda.py COMPUTE_CAPABILITY

Runs in a process of its own, because here the kernels are not to be interpreted.
"""

import json
import sys
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

with patch("torch.cuda.is_available", return_value=True):
    from kernels.triton import linear, rms_norm, softmax
    from kernels.triton.tiles import choose_tiles

ROW = {"SIZE": 50257, "LANES": 1024, "LEVELS": 10, "MULTIPLIER": 1.0, "DIVISOR": 2.0, "SOFT_CAP": 30.0}
NORM = {"SIZE": 2048, "LEVELS": 11, "GEMMA": False}
STATISTICS = "*fp32 *fp32 *fp32 *fp32"
UNFUSED = {"enable_fp_fusion": False}
OTHERS = {
    "normalise": (softmax._normalise, f"*bf16 i32 *fp32 *i64 {STATISTICS}", ROW),
    "whole row": (softmax._whole_row, "*bf16 i32 *fp32 *fp32 *fp32 *fp32", ROW),
    "gradient": (softmax._gradient, "*bf16 i32 *fp32 *i64 *fp32 *fp32 *fp32 *bf16", ROW),
    "norm forward": (rms_norm._forward, "*bf16 *bf16 *bf16 *fp32 fp32", NORM),
    "norm backward": (rms_norm._backward, "*bf16 *bf16 *fp32 *bf16 *bf16 *fp32 i32", {**NORM, "GROUP": 32}),
    "sum of groups": (rms_norm._sum_groups, "*fp32 *fp32 i32", {"SIZE": 2048, "GROUP": 32, "COLUMNS": 256}),
}


def products():
    """Both blocks of a weight, in both dtypes."""
    for dtype, pointer in ((torch.bfloat16, "*bf16"), (torch.float32, "*fp32")):
        tiles = choose_tiles(2048, 2048, dtype)
        for name, block in (("few", tiles.few), ("many", tiles.many)):
            shape = {"N": 2048, "K": 2048, "ROWS": block.rows, "COLUMNS": block.columns, "STEP": tiles.depth}
            options = {"num_warps": block.num_warps, "num_stages": block.num_stages, "enable_fp_fusion": True}
            yield f"product {name} {pointer[1:]}", linear._product, f"{pointer} " * 4 + "i32", shape, options


def compiled(function, types, constants, options):
    """Instructions and bytes of shared memory."""
    runtime = iter(types.split())
    signature = {name: "constexpr" if name in constants else next(runtime) for name in function.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=aligned)
    kernel = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options=options)
    body = [line.strip().split() for line in kernel.asm["ptx"].splitlines() if line.startswith(("\t", " "))]
    names = {word for line in body for word in line[:2] if "." in word and not word.startswith((".", "%"))}
    return {"instructions": sorted(names), "shared_bytes": kernel.metadata.shared}


report = {name: compiled(*rest) for name, *rest in products()}
report |= {name: compiled(function, types, const, UNFUSED) for name, (function, types, const) in OTHERS.items()}
print(json.dumps(report))
