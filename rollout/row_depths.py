"""How deep each row of a batch goes, where an engine decodes sequences of different depths together."""

from typing import Any

import torch

RECURRENCE = "zerokl_recurrence"
"""The entry of `SamplingParams.extra_args` that says how often the core is run for a request."""


class RowDepths:
    """Stands in for `_model_forward` of a vLLM model runner (vLLM 0.32), which is there to be overridden: tells the
    recurrent-depth decoder, before each forward pass, how deep the rows of the pass go.

    Rows come in the order of the runner's input batch. A request that goes less deep than others beside it has the bits
    that it has alone, for its state no longer changes. Remove when a request can hand arguments to the model.
    """

    def __init__(self, runner: Any, decoder: Any):
        self._runner, self._decoder, self._forward = runner, decoder, runner._model_forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._decoder.row_depths = self._rows()
        return self._forward(*args, **kwargs)

    def _rows(self) -> torch.Tensor | None:
        """(rows, 1) int64; None where every request goes as deep as the engine."""
        runner = self._runner
        names = runner.input_batch.req_ids
        depths = [runner.requests[name].sampling_params.extra_args[RECURRENCE] for name in names]
        if all(depth == self._decoder.config.num_recurrences for depth in depths):
            return None
        starts = torch.from_numpy(runner.query_start_loc.np[: len(names) + 1]).long()
        return torch.tensor(depths).repeat_interleave(starts.diff())[:, None]
