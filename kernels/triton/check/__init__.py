"""`python -m kernels.triton.check`: the canonical ops on the GPU at hand, their bits, errors and speed, in one report.

    sizes.py     at which sizes                findings.py   what a part finds, and what came of it
    parts.py     one part after the other      tensors.py    inputs, and the count of numbers that differ
    certification.py   bits.py   accuracy.py   speed.py      the parts
    report.py    markdown and JSON             __main__.py   the command

Needs torch and Triton, and nothing that a GPU machine would have to install. Nothing is imported here.
"""
