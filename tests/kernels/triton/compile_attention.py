"""Compiles attention's kernels for a GPU that need not be there, and prints as JSON what is in each.

    python compile_attention.py COMPUTE_CAPABILITY

Runs in a process of its own, because here the kernels are not to be interpreted.
"""

import json

import torch
from compiling import compiled

from kernels.triton import attention, attention_backward, attention_forward
from kernels.triton.attention_tiles import LAUNCH, canonical_tiles

HEAD_DIM, GROUP, KV_HEADS = 128, 7, 4
"""Of Qwen2.5-7B; seven heads of a kv head leave a row of each tile idle."""
INTEGERS = "i32 i32 i32 i32"
PAGED = f"*T *T *i32 *i32 *i32 *fp32 *fp32 *fp32 {INTEGERS} fp32 fp32 i32 i32 i32 i32 i32 i32"
SCORES = "fp32 fp32 i32"
KERNELS = {
    "partials": (attention_forward._partials, PAGED, None),
    "merge": (attention_forward._merge, f"*fp32 *fp32 *fp32 *T *fp32 *i32 *i32 {INTEGERS} i32", None),
    "query gradients": (
        attention_backward._query_gradients,
        f"*T *T *T *T *T *fp32 *fp32 *T *i32 {SCORES}",
        attention_backward.NUM_WARPS,
    ),
    "key gradients": (
        attention_backward._key_gradients,
        f"*T *T *T *T *fp32 *fp32 *fp32 *fp32 *i32 {SCORES}",
        attention_backward.NUM_WARPS,
    ),
    "sum of uses": (attention_backward._sum_rows, "*fp32 *i32 *i32 *T", 4),
    "cache": (attention._write, "*T *T *T *i64 i32 i32 i32 i32", 4),
}


def compiled_for(function, types, num_warps, dtype):
    """Instructions and bytes of shared memory."""
    tiles = canonical_tiles(dtype, HEAD_DIM, GROUP)
    sizes = {
        "HEADS": KV_HEADS * GROUP, "KV_HEADS": KV_HEADS, "GROUP": GROUP, "HEAD_DIM": HEAD_DIM, "DIM": HEAD_DIM,
        "BLOCK": 32, "TOKENS": tiles.tokens(GROUP), "ROWS": tiles.rows, "KEYS": tiles.keys, "SPLIT": tiles.split,
        "WINDOWED": True, "CAPPED": True, "WIDTH": KV_HEADS * HEAD_DIM, "COLUMNS": KV_HEADS * HEAD_DIM,
    }  # fmt: skip
    constants = {p.name: sizes[p.name] for p in function.params if p.is_constexpr}
    types = types.replace("*T", "*bf16" if dtype == torch.bfloat16 else "*fp32")
    return compiled(function, types, constants, {"num_warps": num_warps or tiles.num_warps, **LAUNCH})


report = {name: compiled_for(*kernel, torch.bfloat16) for name, kernel in KERNELS.items()}
report["partials fp32"] = compiled_for(*KERNELS["partials"], torch.float32)
print(json.dumps(report))
