"""Compiles the kernels for a GPU that need not be there, and prints as JSON what is in each.

    python compile_for_cuda.py COMPUTE_CAPABILITY

Runs in a process of its own, because here the kernels are not to be interpreted.
"""

import json

import torch
from compiling import compiled

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


report = {name: compiled(*rest) for name, *rest in products()}
report |= {name: compiled(function, types, const, UNFUSED) for name, (function, types, const) in OTHERS.items()}
print(json.dumps(report))
