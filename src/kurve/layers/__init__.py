"""Layers: names, arguments and shapes are Keras's."""

from kurve.layers.base import Layer as Layer
from kurve.layers.base import Variable as Variable
from kurve.layers.core import Activation as Activation
from kurve.layers.core import Dropout as Dropout
from kurve.layers.core import Input as Input
from kurve.layers.core import InputLayer as InputLayer
from kurve.layers.dense import Dense as Dense
from kurve.layers.fourier import FourierFeatures as FourierFeatures
from kurve.layers.normalization import Normalization as Normalization

CLASSES: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in [Dense, Activation, Dropout, Normalization, FourierFeatures]
}
