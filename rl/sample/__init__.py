"""`zerokl sample`: one way of sampling over a task, on the engines of training."""
