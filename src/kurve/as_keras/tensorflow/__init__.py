"""The TensorFlow functions that small models need, with its names, arguments and
defaults.

Most are functions of `kurve.ops` under TensorFlow's names, so they take arrays and
tensors, and work in layers, losses and models. Results are arrays with a `numpy`
method. `__all__` of each module lists the names visible to programs.
"""
