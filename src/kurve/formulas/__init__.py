"""Symbolic values: how calls of layers and of functions become operations of a plan.

tensor.py     KerasTensor and Node: the graph that a user builds from calls
graph.py      Graph and Tensor: a plan under construction
functions.py  the functions of `kurve.ops`, on arrays and on both kinds of tensors
"""
