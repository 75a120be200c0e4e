"""The process group that DeepSpeed's ranks meet in."""

import os
from typing import Any


def join_process_group(rank: int, world_size: int, address: str, port: int) -> None:
    """Nothing; afterwards this process is rank `rank` of a gloo group that DeepSpeed uses."""
    os.environ.update(
        DS_ACCELERATOR="cpu",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_SIZE=str(world_size),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
    import deepspeed

    _skip_compiled_collectives(deepspeed)
    deepspeed.init_distributed("gloo", verbose=False)


def _skip_compiled_collectives(deepspeed: Any) -> None:
    """Switches off `deepspeed.comm.torch.build_shm_op` (DeepSpeed 0.19), which compiles C++ at its first start.

    A run must not need a compiler, and the order in which that op adds up is its own. Remove when DeepSpeed has a
    setting for it.
    """
    from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False
