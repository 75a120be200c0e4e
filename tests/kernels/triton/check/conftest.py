from dataclasses import replace

import pytest
import torch

from kernels.triton.check.sizes import FULL, Model

TINY_MODEL = Model("tiny", hidden=24, intermediate=40, num_heads=2, num_kv_heads=1, head_dim=16, vocabulary=48)


@pytest.fixture(scope="session")
def tiny():
    """Everything the full check does, at sizes that the interpreter takes a few seconds for."""
    return replace(
        FULL,
        models=(TINY_MODEL,),
        large=TINY_MODEL,
        dtypes=(torch.float32,),
        certified_counts=(1, 65),
        certified_rows=66,
        num_rows=66,
        num_logit_rows=5,
        row_counts=(1, 65),
        num_keys=18,
        num_decoded=2,
        num_error_rows=3,
        num_gradient_keys=6,
        timed_rows=(1, 3),
        timed_keys=5,
        repeats=1,
        copy_bytes=64,
        matmul_size=4,
        limit_s=float("inf"),
    )
