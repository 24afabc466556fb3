"""Checkpoints: a `fit` that was killed resumes where it stopped, with the same bits.

* `progress`: how far a fit has come, and the checkpointer of a fit without checkpoints.
* `checkpointer`: when a checkpoint is due, what it contains, and how a fit resumes.
* `own`: the same of a fit whose steps are Python.
* `identity`: what a call must have in common with the one that wrote the checkpoint.
* `folder`: the lock, and the two files that are written in turn.
* `values`: the states of callbacks, as JSON and tensors.
* `signals`: SIGTERM and Ctrl-C wait for the end of a step.
"""
