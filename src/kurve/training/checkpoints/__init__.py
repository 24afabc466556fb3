"""Checkpoints: a `fit` that is killed goes on where it was, with the same bits.

* `progress`: where a fit is, and the checkpointer of a fit without checkpoints.
* `checkpointer`: when a checkpoint is due, what is in it, and how it is taken up again.
* `identity`: what a call must have in common with the one that a checkpoint is of.
* `folder`: the lock, and the two files that take turns.
* `values`: the states of callbacks, as JSON and tensors.
* `signals`: SIGTERM and Ctrl-C wait for a whole step.
"""
