"""Programs for Keras and TensorFlow run unchanged: importing this module answers their
imports of `keras`, `tensorflow`, `tf_keras` and what is in them with Kurve.

    import kurve.as_keras             # the first line of a program, or

    kurve run program.py              # nothing in it changes
    kurve check program.py            # what of it Kurve does not have

Layers, models, optimizers and so on are Kurve's own classes under Keras's names. Of
TensorFlow there is what stands around small models: functions of tensors, data sets,
random numbers, settings. Tensors are arrays with the method `numpy`.

importing.py   finds and makes the modules
paths.py       which module of Kurve answers for which path
reasons.py     why a name is not there, and what to use
programs.py    reads programs and notebooks
running.py     runs one
checking.py    lists what is missing in one, without running it
shapes.py      shapes with the methods of TensorFlow's
tensorflow/    the functions of TensorFlow
"""

from kurve.as_keras.importing import install as _install

_install()
