"""Checkpoints: a killed `fit` resumes where it stopped, with identical bits.

* `progress`: progress of a fit, and the no-op checkpointer.
* `checkpointer`: when a checkpoint is due, what it contains, and how a fit resumes.
* `identity`: what must match between a call and its checkpoint.
* `folder`: the lock, and the two files written alternately.
* `values`: the states of callbacks, as JSON and tensors.
* `signals`: SIGTERM and Ctrl-C wait for the end of a step.
"""
