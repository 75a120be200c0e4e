"""At which sizes a GPU is checked: everything that the full check, the quick one and the tests do differently."""

from dataclasses import dataclass, replace

import torch

from kernels.certify import NUM_ROWS, ROW_COUNTS

DTYPE_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}
Shape = tuple[int, int]
"""(N, K) of a weight."""


@dataclass(frozen=True)
class Model:
    """The sizes of a model that its ops see."""

    name: str
    hidden: int
    intermediate: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocabulary: int

    @property
    def weights(self) -> dict[str, Shape]:
        """The shapes of its projections; those that several share stand once."""
        return {
            "q, o": (self.num_heads * self.head_dim, self.hidden),
            "k, v": (self.num_kv_heads * self.head_dim, self.hidden),
            "gate, up": (self.intermediate, self.hidden),
            "down": (self.hidden, self.intermediate),
            "logits": (self.vocabulary, self.hidden),
        }


SMOLLM2 = Model("SmolLM2-135M", 576, 1536, 9, 3, 64, 49152)
LLAMA = Model("Llama-8B-like", 4096, 14336, 32, 8, 128, 128256)


@dataclass(frozen=True)
class Sizes:
    """Row counts are counts of tokens."""

    models: tuple[Model, ...]
    """Certified, and their attention and RMSNorm compared, each."""
    large: Model
    """Its linears and log-probabilities are compared, and its ops timed."""
    dtypes: tuple[torch.dtype, ...]
    certified_counts: tuple[int, ...]
    certified_rows: int
    num_rows: int
    """Rows of the product or norm that others are compared with."""
    num_logit_rows: int
    """The same for rows as wide as a vocabulary."""
    row_counts: tuple[int, ...]
    num_keys: int
    """Of a sequence whose attention is compared."""
    num_decoded: int
    """Positions of it that are decoded, about."""
    num_error_rows: int
    """Rows held against float64."""
    num_gradient_keys: int
    """Of a sequence whose gradients are held against float64 and compared with a rerun."""
    timed_rows: tuple[int, ...]
    timed_keys: int
    """Keys of each sequence in a decode step."""
    repeats: int
    copy_bytes: int
    """Of the copy that measures the bandwidth, and of what is written to flush the caches."""
    matmul_size: int
    limit_s: float
    """No part begins later."""


FULL = Sizes(
    models=(LLAMA, SMOLLM2),
    large=LLAMA,
    dtypes=(torch.bfloat16, torch.float32),
    certified_counts=ROW_COUNTS,
    certified_rows=NUM_ROWS,
    num_rows=2048,
    num_logit_rows=512,
    row_counts=(1, 2, 3, 5, 8, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 500),
    num_keys=8192,
    num_decoded=256,
    num_error_rows=64,
    num_gradient_keys=1024,
    timed_rows=(1, 8, 64, 256, 1024, 4096),
    timed_keys=2048,
    repeats=11,
    copy_bytes=2**30,
    matmul_size=8192,
    limit_s=450.0,
)
QUICK = replace(
    FULL,
    dtypes=(torch.bfloat16,),
    certified_counts=(1, 7, 16, 17, 64, 65, 129, 384),
    num_rows=1024,
    num_logit_rows=256,
    row_counts=(1, 8, 63, 64, 65, 129),
    num_decoded=64,
    timed_rows=(1, 64, 1024),
    repeats=5,
    limit_s=100.0,
)
