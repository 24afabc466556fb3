"""TensorFlow's functions that stand around small models, with its names, arguments and
defaults.

Most are functions of `kurve.ops` under TensorFlow's names, so they take arrays and
tensors, and work in layers, losses and models. What they give is an array with the
method `numpy`. `__all__` of each module are the names that programs see.
"""
