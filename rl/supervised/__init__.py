"""Training on given examples, under the guarantee of `zerokl train`: the same run, the same bits, the same final hash.

    Batches ── examples of a step ── canonical shards ── Objective: losses ── rl.rank: gradient, step ── ledger

What a loss is, is the objective's; a language model's next token (`rl.pretrain`) is one.
"""
