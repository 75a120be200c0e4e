"""`zerokl verify` and `zerokl diff`: is a run what its ledger says, and where do two runs part?"""
