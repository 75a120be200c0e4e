"""The canonical ops on CUDA, written in Triton. Nothing is imported here."""
