"""Keras's data sets, read from local files: nothing is downloaded, and nothing in the
files is executed.

Load them as in Keras:

    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()

`load_images` returns the first image data set it finds, x (n, 28, 28) uint8 and y (n,)
uint8.
"""

from kurve.datasets import boston_housing as boston_housing
from kurve.datasets import california_housing as california_housing
from kurve.datasets import cifar10 as cifar10
from kurve.datasets import cifar100 as cifar100
from kurve.datasets import digits as digits
from kurve.datasets import fashion_mnist as fashion_mnist
from kurve.datasets import imdb as imdb
from kurve.datasets import mnist as mnist
from kurve.datasets import reuters as reuters
from kurve.datasets.choice import load_images as load_images
from kurve.datasets.files import Images as Images
from kurve.datasets.files import Part as Part
