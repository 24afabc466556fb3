"""Checkpoints: a killed `fit` resumes where it stopped, with identical bits.

* `progress`: progress of a fit, and the no-op checkpointer.
* `checkpointer`: when a checkpoint is due, what it contains, and how a fit resumes.
* `custom`: the same for a fit with custom steps in Python.
* `identity`: what a call must have in common with the one that wrote the checkpoint.
* `folder`: the lock, and the two files that are written in turn.
* `values`: the states of callbacks, as JSON and tensors.
* `signals`: SIGTERM and Ctrl-C wait for the end of a step.
"""
