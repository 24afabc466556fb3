"""What all networks share: their arguments, the input, the top and the weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kurve.errors import MissingFileError
from kurve.layers import Dense, GlobalAveragePooling2D, GlobalMaxPooling2D, Input
from kurve.models import Model

Shape = Sequence[int | None]
STORE = "https://storage.googleapis.com/tensorflow/keras-applications/"

ARGUMENTS = """

    The layers have Keras's names and order.

    Args:
        include_top: whether to end with the classifier.
        weights: None for random ones, the path of a file, or "imagenet" for those that
            Keras downloads, read from where Keras keeps them.
        input_tensor: a symbolic tensor to use as input.
        input_shape: height, width and channels; the first two may be None without the
            top.
        pooling: without the top, "avg" or "max" for one vector for each image; None
            for maps.
        classes: number of classes.
        classifier_activation: activation of the top.
        name: of the model.

    Raises:
        MissingFileError: no file with the weights.
        ValueError: an argument that does not fit.

    Example:
        >>> model = kurve.applications.MobileNetV2((32, 32, 3), weights=None, classes=4)
        >>> model.output_shape
        (None, 4)
    """


class Network(Protocol):
    """A function that builds a network."""

    def __call__(
        self,
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Shape | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str | None = None,
    ) -> Model: ...


@dataclass
class Plan:
    """The arguments of one call.

    size, least: height and width of the usual input, and the smallest
    """

    where: str
    size: int
    least: int
    include_top: bool
    weights: Any
    input_tensor: Any
    input_shape: Shape | None
    pooling: str | None
    classes: int
    classifier_activation: Any
    name: str | None

    def __post_init__(self) -> None:
        if self.weights is not None and not isinstance(self.weights, str | os.PathLike):
            self._refuse("weights must be None, 'imagenet' or a path", "weights")
        self.pretrained = self.weights == "imagenet"
        if self.pretrained and self.include_top and self.classes != 1000:
            self._refuse("the classifier of ImageNet has 1000 classes", "classes")
        if self.pooling not in (None, "avg", "max"):
            self._refuse("pooling must be None, 'avg' or 'max'", "pooling")
        file = None if self.pretrained else self.weights
        if file is not None and not os.path.exists(file):
            raise MissingFileError(
                f"[{self.where}] weights must be None, 'imagenet' or the path of a "
                f"file. Received: weights={self.weights!r}. Try weights=None."
            )
        usual = _is_softmax(self.classifier_activation)
        if self.include_top and self.weights is not None and not usual:
            self._refuse(
                "trained weights need classifier_activation='softmax' or None",
                "classifier_activation",
            )

    def _refuse(self, rule: str, argument: str) -> None:
        value = getattr(self, argument)
        raise ValueError(
            f"[{self.where}] {rule}. Received: {argument}={value!r}. "
            f"Try weights=None{', include_top=False' * self.include_top}."
        )

    def shape(self) -> tuple[int | None, ...]:
        """The shape of the input."""
        given = self.input_shape
        if given is None:
            if self.input_tensor is not None:
                return tuple(self.input_tensor.shape[1:])
            side = self.size if self.include_top else None
            return (side, side, 3)
        shape = tuple(None if n is None else int(n) for n in given)
        if len(shape) != 3:
            self._refuse("input_shape must be (height, width, channels)", "input_shape")
        if self.pretrained and shape[2] != 3:
            self._refuse("trained weights need 3 channels", "input_shape")
        usual = (self.size, self.size, 3)
        if self.pretrained and self.include_top and shape != usual:
            self._refuse(f"the trained classifier needs images {usual}", "input_shape")
        if any(n is not None and n < self.least for n in shape[:2]):
            self._refuse(
                f"height and width must be at least {self.least}", "input_shape"
            )
        if self.include_top and None in shape:
            self._refuse("the top needs a height and a width", "input_shape")
        return shape

    def start(self) -> Any:
        """The symbolic input."""
        shape: Any = self.shape()
        return Input(shape) if self.input_tensor is None else self.input_tensor

    def pooled(self, x: Any, named: bool = True) -> Any:
        """The maps pooled to one vector, if that is wanted."""
        names = ("avg_pool", "max_pool") if named else (None, None)
        if self.pooling == "avg":
            return GlobalAveragePooling2D(name=names[0])(x)
        return GlobalMaxPooling2D(name=names[1])(x) if self.pooling == "max" else x

    def top(self, x: Any, named: bool = True, **options: Any) -> Any:
        """The usual classifier: means of the maps, then a Dense layer."""
        x = GlobalAveragePooling2D(name="avg_pool" if named else None)(x)
        return self.classifier(x, **options)

    def classifier(self, x: Any, **options: Any) -> Any:
        """The last layer."""
        activation = self.classifier_activation
        last = Dense(self.classes, activation, name="predictions", **options)
        return last(x)

    def ended(self, x: Any, named: bool = True) -> Any:
        """The classifier, or the maps pooled."""
        return self.top(x, named) if self.include_top else self.pooled(x, named)

    def model(self, x: Any, y: Any, origin: str) -> Model:
        """The model from x to y with its weights.

        Args:
            origin: the address of Keras's file.
        """
        if self.input_tensor is not None:
            x = sources(self.input_tensor)
        model = Model(x, y, name=self.name)
        if self.weights is not None:
            model.load_weights(self._file(origin))
        return model

    def _file(self, origin: str) -> str:
        if not self.pretrained:
            return os.fspath(self.weights)
        from kurve.preprocessing.files import get_file

        try:
            return get_file(origin.rpartition("/")[2], origin, cache_subdir="models")
        except MissingFileError as error:
            path = str(error).partition("Received: ")[2].partition(". Try")[0]
            raise MissingFileError(
                f"[{self.where}] weights='imagenet' are read from a file; nothing is "
                f"downloaded. Received: no file {path}. Try getting it from {origin} "
                "and putting it there, or weights=None."
            ) from None


def _is_softmax(activation: Any) -> bool:
    from kurve import activations

    if activation is None:
        return True
    return activations.get(activation) is activations.get("softmax")


def sources(tensor: Any) -> Any:
    """The inputs that a symbolic tensor is computed from: one, or a list."""
    found: list[Any] = []
    waiting, seen = [tensor], set[int]()
    while waiting:
        node = waiting.pop().history.node
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.is_input:
            found.append(node.outputs)
        waiting += node.input_tensors
    return found[0] if len(found) == 1 else found[::-1]


def network(
    function: str,
    name: str,
    size: int,
    least: int,
    origin: str,
    described: str,
    body: Callable[[Plan, Any], Any],
) -> Network:
    """A function with Keras's arguments that builds a network.

    Args:
        function: its name.
        name: the default name of its models.
        size, least: see `Plan`.
        origin: address of Keras's file with the weights, with {} for "_notop".
        described: the first line of its docstring.
        body: adds the layers to an input, the last ones included.
    """

    def build(
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Shape | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str | None = name,
    ) -> Model:
        plan = Plan(
            function,
            size,
            least,
            include_top,
            weights,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
            name,
        )
        x = plan.start()
        return plan.model(
            x, body(plan, x), origin.format("" if include_top else "_notop")
        )

    build.__name__ = build.__qualname__ = function
    build.__doc__ = described + ARGUMENTS
    return build
