"""The contract of a run: what decides its bits, and what does not."""
