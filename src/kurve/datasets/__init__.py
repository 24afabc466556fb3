"""Small sets of images, from files on this machine: nothing is downloaded.

Each is loaded as in Keras:

    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()

x (n, 28, 28) uint8, y (n,) uint8, the index of the class. `load_images` takes the first
set that is found.
"""

from kurve.datasets import digits as digits
from kurve.datasets import fashion_mnist as fashion_mnist
from kurve.datasets import mnist as mnist
from kurve.datasets.choice import load_images as load_images
from kurve.datasets.files import Images as Images
from kurve.datasets.files import Part as Part
