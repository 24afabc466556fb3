"""Symbolic values: how calls of layers and of functions become operations of a plan.

tensor.py     KerasTensor and Node: the graph that a user builds from calls
graph.py      Graph and Tensor: a plan under construction
joining.py    what it does without: neighbouring operations become one
limits.py     how much a model from a file may ask for
functions.py  the functions of `kurve.ops`, on arrays and on both kinds of tensors, from
              elements.py, shapes.py, slices.py, reductions.py, products.py, creation.py
nn.py, arrays.py, flow.py, randomness.py, images.py, only_arrays.py  its other functions
"""
