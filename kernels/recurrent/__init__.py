"""A decoder that thinks in depth: a prelude, a core that is run r times, a coda. A Hugging Face model like any other.

Nothing is imported here, as in `kernels`; `registration` teaches transformers the family.
"""
