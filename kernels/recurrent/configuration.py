"""The config of a recurrent-depth decoder: a Llama's, how its layers are split, and how often the core is run.

    l_P prelude layers ── l_R core layers, r times ── l_C coda layers

Every (run, layer) has a place of its own in the KV cache, so the model counts as one of l_P + r·l_R + l_C layers.
"""

from typing import Any

from transformers import LlamaConfig

from kernels.recurrent.depth import Depth

MODEL_TYPE = "zerokl_recurrent"
INITIAL_STATES = ("zero", "learned", "prelude")


class RecurrentDepthConfig(LlamaConfig):
    """Layers, heads and rotary embedding as in `LlamaConfig`; raises ValueError for what makes no model."""

    model_type = MODEL_TYPE
    base_model_tp_plan = None
    base_model_pp_plan = None

    num_prelude_layers: int = 1
    """l_P; none hands the embeddings to the core."""
    num_core_layers: int = 2
    """l_R, at least 1."""
    num_coda_layers: int = 1
    """l_C."""
    num_recurrences: int = 4
    """r of a forward pass that is not told otherwise."""
    num_backpropagated: int | None = None
    """k: the gradient flows through the last k runs of the core, the state before them is detached; None is all."""
    initial_state: str = "zero"
    """What the core starts from: `zero`, a vector that is `learned`, or the output of the `prelude`. Never noise."""
    sandwich_norms: bool = True
    """Norms on the residual stream behind attention and MLP too (Geiping et al., arXiv 2502.05171, section 3.2)."""
    trained_recurrences: list[int] | None = None
    """The least and the most r of training; None where nobody knows."""

    def __post_init__(self, **kwargs: Any) -> None:
        self._require_sense()
        self.num_hidden_layers = self.num_slots(self.num_recurrences)
        super().__post_init__(**kwargs)

    def num_slots(self, num_recurrences: int) -> int:
        """KV slots of a forward pass, one for every layer that is run, every time."""
        return self.num_prelude_layers + num_recurrences * self.num_core_layers + self.num_coda_layers

    def _require_sense(self) -> None:
        if self.num_core_layers < 1 or min(self.num_prelude_layers, self.num_coda_layers) < 0:
            raise ValueError(
                "a recurrent-depth model needs at least 1 core layer and no negative numbers of layers, got "
                f"num_prelude_layers={self.num_prelude_layers}, num_core_layers={self.num_core_layers}, "
                f"num_coda_layers={self.num_coda_layers}"
            )
        if self.initial_state not in INITIAL_STATES:
            raise ValueError(f"initial_state must be {' or '.join(INITIAL_STATES)}, got {self.initial_state!r}")
        Depth(self.num_recurrences, self.num_backpropagated)
        if self.initial_state == "learned" and self.num_backpropagated is not None:
            raise ValueError(
                f"a learned initial state gets no gradient with num_backpropagated={self.num_backpropagated} where the "
                "core is run more often; back-propagate through all, or set initial_state to zero or prelude"
            )
