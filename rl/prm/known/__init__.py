"""A task whose every success probability is known exactly, so that calibration can be held against the truth."""
