"""Weights divided by their largest singular value."""

from __future__ import annotations

from typing import Any, Unpack

from kurve import initializers
from kurve.core.arguments import check_integer, from_signature
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, LayerArguments, Variable
from kurve.layers.wrapping import Wrapper
from kurve.plan import Shape


class SpectralNormalization(Wrapper):
    """Divides the kernel (or the embeddings) of a layer by an estimate of its largest
    singular value, in every call in training, so that the layer changes distances by a
    factor of about 1 at most.

    The estimate s = v W u^T comes from power iteration, u = norm(v W) and v =
    norm(u W^T), which continues from call to call; W is the kernel as a matrix (...,
    O). Since a call writes weights, models with this layer train step by step in
    Python.

    Source: Miyato et al. 2018; defaults follow keras.layers.SpectralNormalization.

    Args:
        layer: the inner layer, with a `kernel` or `embeddings`.
        power_iterations: iterations per call, at least 1.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: not a layer, or power_iterations below 1; when built: a layer
            without kernel or embeddings.

    Example:
        >>> layer = kurve.layers.SpectralNormalization(kurve.layers.Dense(3))
        >>> for _ in range(20):
        ...     y = layer(np.eye(4), training=True)
        >>> bool(np.isclose(np.linalg.norm(layer.layer.kernel, 2), 1.0, atol=1e-3))
        True
    """

    arguments = from_signature()

    def __init__(
        self,
        layer: Layer,
        power_iterations: int = 1,
        **common: Unpack[LayerArguments],
    ) -> None:
        super().__init__(layer, **common)
        where = type(self).__name__
        check_integer(where, "power_iterations", power_iterations, 1, 1)
        self.power_iterations = int(power_iterations)
        self.kernel: Variable
        self.vector_u: Variable

    def build(self, input_shape: Any) -> None:
        """Build the inner layer and the vector u."""
        super().build(input_shape)
        found = [
            getattr(self.layer, name)
            for name in ("kernel", "embeddings")
            if hasattr(self.layer, name)
        ]
        if not found:
            raise ValueError(
                f"[{type(self).__name__}] the inner layer must have a kernel or "
                f"embeddings. Received: {self.layer!r}. Try Dense(8)."
            )
        self.kernel = found[0]
        self.vector_u = self.add_weight(
            (1, self.kernel.shape[-1]),
            initializers.TruncatedNormal(stddev=0.02),
            name="vector_u",
            trainable=False,
        )

    @property
    def variables(self) -> list[Variable]:
        """All variables, in Keras's order: the kernel is the first."""
        found = super().variables
        if self.built:
            found.sort(key=lambda v: v is not self.kernel)
        return found

    def output_sample_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample: that of the inner layer."""
        return self.layer.output_sample_shape(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The output of the inner layer, whose weights are normalized first."""
        if training:
            w = ops.reshape(self.kernel, (-1, self.kernel.shape[-1]))
            u: Any = self.vector_u
            for _ in range(self.power_iterations):
                v = ops.normalize(ops.matmul(u, ops.transpose(w)), None)
                u = ops.normalize(ops.matmul(v, w), None)
            size = ops.matmul(ops.matmul(v, w), ops.transpose(u))
            # Weights of 0 and their u stay.
            none = ops.equal(size, 0.0)
            self.vector_u.assign(ops.stop_gradient(ops.where(none, self.vector_u, u)))
            scale = ops.where(none, 1.0, size)
            self.kernel.assign(self.kernel / ops.reshape(scale, ()))
        return self.layer(inputs)
