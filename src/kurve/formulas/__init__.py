"""Symbolic tensors: how calls of layers and functions become operations of a plan.

tensor.py     KerasTensor and Node: the graph that a user builds from calls
graph.py      Graph and Tensor: a plan under construction
joining.py    plan optimization: adjacent operations are merged
limits.py     resource limits for models from files
functions.py  the functions of `kurve.ops`, on arrays and on both kinds of tensors, from
              elements.py, shapes.py, slices.py, reductions.py, products.py, creation.py
nn.py, arrays.py, flow.py, ordering.py, randomness.py, images.py, only_arrays.py
              other functions
"""
