"""What users can set of the sampling side."""

from dataclasses import dataclass


@dataclass
class RolloutConfig:
    """`rollout:` in a config. None of it but `exact`, temperature, lengths, group size and truncation
    changes a sampled bit."""

    num_actors: int = 1
    """Ray actors, one vLLM engine each."""
    exact: bool = True
    """False samples with stock vLLM: off-policy by what its numerics differ from the trainer's. For comparison."""
    group_size: int = 8
    """Rollouts per prompt."""
    max_rounds: int = 8
    """Rounds of prompts that dynamic sampling may draw for one batch."""
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 64
    max_model_len: int = 1024
    """Prompt and completion together, in tokens."""
    max_num_seqs: int = 256
    """Requests decoded at once in one engine."""
    max_num_batched_tokens: int = 2048
    """Chunked-prefill budget of one engine step."""
    prefix_caching: bool = True
    kv_cache_gib: float = 1.0
    threads: int = 0
    """CPU threads of one engine; 0 divides the machine's cores among the actors."""
