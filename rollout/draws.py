"""Counter-based random draws: a token's draw depends on its key alone, not on the actor, the batch or the order.

Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). The key is the run's seed, the
counter is (position, sample, prompt): no state is kept, so nothing can get out of step.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
NUM_ROUNDS = 10
WORD = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


@dataclass(frozen=True)
class DrawKey:
    """What one rollout's stream is keyed by. Position, the last part of the key, counts its tokens from 0."""

    seed: int
    prompt_id: str
    sample: int

    def counter_words(self) -> tuple[int, int, int, int, int]:
        """(sample, prompt low, prompt high, seed low, seed high), 32 bits each."""
        prompt = int.from_bytes(hashlib.sha256(self.prompt_id.encode()).digest()[:8], "little")
        return self.sample, prompt & 0xFFFFFFFF, prompt >> 32, self.seed & 0xFFFFFFFF, (self.seed >> 32) & 0xFFFFFFFF


def philox4x32(counter: npt.NDArray[np.uint32], key: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Four random words for each counter. counter: (n, 4) uint32; key: (n, 2) uint32; returns (n, 4) uint32."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key[:, 0].copy(), key[:, 1].copy()
    for _ in range(NUM_ROUNDS):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> SHIFT) ^ c1 ^ k0,
            product1 & WORD,
            (product0 >> SHIFT) ^ c3 ^ k1,
            product0 & WORD,
        )
        k0, k1 = k0 + KEY_STEPS[0], k1 + KEY_STEPS[1]
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def uniforms(keys: list[tuple[int, int, int, int, int]], positions: list[int]) -> npt.NDArray[np.float64]:
    """One draw in [0, 1) with 53 random bits a row. keys: `DrawKey.counter_words` of each; returns (n,) float64."""
    words = np.array(keys, dtype=np.uint32).reshape(-1, 5)
    counter = np.column_stack([np.array(positions, dtype=np.uint32), words[:, :3]])
    random = philox4x32(counter, words[:, 3:]).astype(np.uint64)
    return ((random[:, 0] << np.uint64(21)) | (random[:, 1] >> np.uint64(11))) * 2.0**-53
