"""Teaches transformers the family, so that its auto classes find it: in every process that reads a checkpoint."""

import functools


@functools.cache
def register() -> None:
    """Nothing; afterwards `AutoConfig`, `AutoModel` and `AutoModelForCausalLM` know recurrent-depth checkpoints.

    Call it before them. It imports transformers, which takes seconds, and does nothing the second time.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    from kernels.recurrent.configuration import MODEL_TYPE, RecurrentDepthConfig
    from kernels.recurrent.modelling import RecurrentDepthForCausalLM, RecurrentDepthModel

    AutoConfig.register(MODEL_TYPE, RecurrentDepthConfig)
    AutoModel.register(RecurrentDepthConfig, RecurrentDepthModel)
    AutoModelForCausalLM.register(RecurrentDepthConfig, RecurrentDepthForCausalLM)
