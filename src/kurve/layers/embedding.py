"""Embeddings of integer ids: words, users, categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from kurve import initializers, regularizers
from kurve.core.arguments import check_flag, check_integer, check_number
from kurve.core.dtypes import check_dtype, name_of_dtype
from kurve.formulas import functions as ops
from kurve.layers.base import Layer, UnusedArguments, Variable

if TYPE_CHECKING:
    from kurve.constraints import Constraint


class EmbeddingArguments(UnusedArguments, total=False):
    """Arguments of every layer except the old input_dim."""

    name: str | None
    trainable: bool
    dtype: Any
    autocast: bool
    activity_regularizer: str | regularizers.L1L2 | None
    input_shape: Sequence[int] | int | None
    embeddings_constraint: str | Constraint | None
    lora_rank: None
    lora_alpha: None
    quantization_config: None


class Embedding(Layer):
    """y = embeddings[x]: a vector for each integer from 0 to input_dim - 1.

    Shapes:   x (B, ...), integers; embeddings (N, D) -> y (B, ..., D)
    Backward: each row of dembeddings is the sum of dy over its occurrences in x
    Source:   defaults follow keras.layers.Embedding.

    Args:
        input_dim: N, the largest integer in x plus 1.
        output_dim: D.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: name or
            object.
        mask_zero: whether 0 marks padding: the output's mask is then x != 0.
        weights: initial embeddings, as an array or in a list, or None.
        input_length: an old argument for the length of samples, equivalent to
            `input_shape=(input_length,)`.
        name, trainable, input_shape: see `Layer`.

    Raises:
        ValueError: sizes below 1, or weights with another shape.

    Example:
        >>> layer = kurve.layers.Embedding(3, 2, weights=[[0, 1], [2, 3], [4, 5]])
        >>> layer(np.array([[2, 0]]))
        array([[[4., 5.],
                [0., 1.]]], dtype=float32)
    """

    takes_scalars = True
    arguments: tuple[str, ...] = (
        "input_dim",
        "output_dim",
        "embeddings_initializer",
        "embeddings_regularizer",
        "mask_zero",
    )
    constrained: Mapping[str, str] = {"embeddings": "embeddings_constraint"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | initializers.Initializer = "uniform",
        embeddings_regularizer: str | regularizers.Regularizer | None = None,
        mask_zero: bool = False,
        weights: Any = None,
        input_length: int | None = None,
        **common: Unpack[EmbeddingArguments],
    ) -> None:
        for name, value in (("input_dim", input_dim), ("output_dim", output_dim)):
            check_integer("Embedding", name, value, 16)
        if input_length is not None and common.get("input_shape") is None:
            common["input_shape"] = input_length
        super().__init__(**common)
        self.input_dim, self.output_dim = int(input_dim), int(output_dim)
        self.embeddings_initializer = initializers.of_weight(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.mask_zero = check_flag("Embedding", "mask_zero", mask_zero)
        self._supports_masking = self.mask_zero
        self.embeddings: Variable
        if weights is not None:
            self.build((None, 1))
            alone = isinstance(weights, (list, tuple)) and len(weights) == 1
            self.set_weights(weights if alone else [weights])

    def make_variables(self, input_shape: Any) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            name="embeddings",
            regularizer=self.embeddings_regularizer,
        )

    def output_sample_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)

    def check_input(self, input_shape: Any) -> None:
        """Accepts any shape: each integer has its vector."""

    @property
    def makes_masks(self) -> bool:
        """Whether outputs have a mask even if no input has one."""
        return self.mask_zero or super().makes_masks

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Where inputs are not 0, if mask_zero=True; else None.

        Args:
            inputs: inputs of the layer.
            previous_mask: unused.
        """
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def call(self, x: Any) -> Any:
        """The vectors of x."""
        return ops.take(self.embeddings, ops.cast(x, "int32"), 0)


class ReversibleEmbedding(Embedding):
    """An embedding with an inverse direction: from vectors to a score for each integer.

    Shapes:   x (B, ...), integers -> embeddings[x], (B, ..., D);
              with reverse=True x (B, ..., D) -> y (B, ..., N),
              y = x embeddings^T if the weights are tied, else x reverse_embeddings;
              with logit_soft_cap c it is c tanh(y / c)
    Source:   Press and Wolf, https://arxiv.org/abs/1608.05859; defaults follow
              keras.layers.ReversibleEmbedding.

    Args:
        input_dim, output_dim: N and D.
        tie_weights: whether both directions share the embeddings; otherwise the inverse
            direction has its own kernel (D, N).
        embeddings_initializer, embeddings_regularizer, mask_zero: see `Embedding`.
        reverse_dtype: None or "float32", in which engines compute.
        logit_soft_cap: c, above 0; None for no cap.
        name, trainable, input_shape, embeddings_constraint: see `Embedding`.

    Raises:
        ValueError: as `Embedding`; a cap that is not above 0.

    Example:
        >>> layer = kurve.layers.ReversibleEmbedding(3, 2)
        >>> layer(np.array([[2, 0]])).shape
        (1, 2, 2)
        >>> layer(np.ones((1, 2, 2)), reverse=True).shape
        (1, 2, 3)
    """

    arguments = (
        *Embedding.arguments,
        "tie_weights",
        "reverse_dtype",
        "logit_soft_cap",
    )

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: str | initializers.Initializer = "uniform",
        embeddings_regularizer: str | regularizers.Regularizer | None = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **common: Unpack[EmbeddingArguments],
    ) -> None:
        where = "ReversibleEmbedding"
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer,
            embeddings_regularizer,
            mask_zero,
            **common,
        )
        self.tie_weights = check_flag(where, "tie_weights", tie_weights)
        check_dtype(where, reverse_dtype)
        self.reverse_dtype = name_of_dtype(reverse_dtype)
        self.logit_soft_cap = (
            None
            if logit_soft_cap is None
            else check_number(
                where, "logit_soft_cap", logit_soft_cap, 30.0, 0.0, ends="()"
            )
        )
        self.reverse_embeddings: Variable

    def make_variables(self, input_shape: Any) -> None:
        super().make_variables(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                (self.output_dim, self.input_dim),
                self.embeddings_initializer,
                name="reverse_embeddings",
            )

    def call(self, x: Any, reverse: bool = False) -> Any:
        """The vectors of x, or the scores for vectors x."""
        if not reverse:
            y = super().call(x)
            y.mask = super().compute_mask(x)
            return y
        if self.tie_weights:
            y = ops.matmul(x, ops.transpose(self.embeddings))
        else:
            y = ops.matmul(x, self.reverse_embeddings)
        cap = self.logit_soft_cap
        return y if cap is None else cap * ops.tanh(y / cap)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: `call` sets the mask of vectors, and scores have none.

        Args:
            inputs, previous_mask: unused.
        """
        return None
