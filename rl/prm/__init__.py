"""`zerokl train-prm`: from a policy to a process reward model whose quantiles are calibrated, with a report.

questions ── collect.py: solutions, rollouts from every prefix ──> data/
data/ ── examples.py ── fit.py: backbone, adapters, quantile head, in DeepSpeed ──> ledger, model/
model/ ── predict.py ── figures.py: recalibrated, measured on other questions ──> report/
"""
