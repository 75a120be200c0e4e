"""`zerokl pretrain`: next-token training, from scratch or from a checkpoint, on a task that takes depth."""
