"""Run programs for Keras and TensorFlow unchanged: importing this module redirects
their imports of `keras`, `tensorflow`, `tf_keras` and their submodules to Kurve.

    import kurve.as_keras             # the first line of a program, or

    kurve run program.py              # the program stays unchanged
    kurve check program.py            # what it needs that Kurve lacks

Layers, models, optimizers and so on are Kurve's own classes under Keras's names. The
TensorFlow part covers what small models need: tensor functions, datasets, random
numbers, settings. Tensors are arrays with a `numpy` method.

importing.py   finds and creates the modules
paths.py       maps paths to Kurve modules
manners.py     changes to the behaviour of Kurve's own objects in such programs
reasons.py     why a name is missing, and what to use instead
programs.py    reads programs and notebooks
running.py     runs a program
checking.py    lists what a program needs that is missing, without running it
shapes.py      shapes with TensorFlow's methods
tensorflow/    TensorFlow's functions
"""

from kurve.as_keras.importing import install as _install

_install()
