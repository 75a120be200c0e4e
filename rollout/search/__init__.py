"""Search methods: what a policy gives by sampling alone.

tasks ─> method.search ─ Extensions ─> ContinuationSampler: a pool of vLLM engines, or a table of probabilities
      <─ outcomes ─────── Continuations ─┘
"""
