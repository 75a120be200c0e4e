"""Held-out accuracy within a run, and `zerokl eval`: how good a checkpoint is."""
