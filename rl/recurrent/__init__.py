"""Recurrent-depth models as policies: the depth they run at, how it is drawn in training, making them of others."""
