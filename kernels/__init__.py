"""The numerics: canonical ops whose bits do not depend on the batch, the seam under a model, and the contract.

Nothing is imported here: transformers looks for a package named `kernels`, and must find one that costs nothing.
"""
