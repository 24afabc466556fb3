"""`tf.TensorArray`: a list of tensors written by a loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.as_keras.tensorflow.arrays import concat, split, stack, unstack, zeros
from kurve.as_keras.tensorflow.values import is_symbolic_tensor, kind, tensor

__all__ = ["TensorArray"]


class TensorArray:
    """A list of tensors. `write` and `unstack` return the list to continue with.

    Args:
        dtype: of the tensors.
        size: number of tensors; more can always be written.
        dynamic_size, clear_after_read, element_shape, infer_shape, name: accepted and
            ignored.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = 0,
        dynamic_size: Any = None,
        clear_after_read: Any = None,
        element_shape: Any = None,
        infer_shape: Any = True,
        name: Any = None,
        **_: Any,
    ) -> None:
        self.dtype, self.element_shape = dtype, element_shape
        self.dynamic_size = bool(dynamic_size)
        self._parts: list[Any] = [None] * int(size or 0)

    def size(self, name: Any = None) -> Any:
        """The number of tensors."""
        return tensor(np.int32(len(self._parts)))

    def __len__(self) -> int:
        return len(self._parts)

    def write(self, index: Any, value: Any, name: Any = None) -> TensorArray:
        """The list with the tensor at this place.

        Raises:
            IndexError: a negative place.
        """
        place = int(index)
        if place < 0:
            raise IndexError(
                "[tf.TensorArray] the index must be at least 0. "
                f"Received: {place}. Try range(steps)."
            )
        self._parts += [None] * (place + 1 - len(self._parts))
        self._parts[place] = self._of_dtype(value)
        return self

    def read(self, index: Any, name: Any = None) -> Any:
        """The tensor at this place.

        Raises:
            IndexError: nothing was written there.
        """
        place = int(index)
        if not 0 <= place < len(self._parts):
            raise IndexError(
                "[tf.TensorArray] the index must be that of a tensor. "
                f"Received: {place} of {len(self._parts)}. Try write first."
            )
        return self._filled()[place]

    def stack(self, name: Any = None) -> Any:
        """All tensors along a new first axis."""
        return stack(self._filled(), axis=0)

    def concat(self, name: Any = None) -> Any:
        """All tensors, concatenated along their first axis."""
        return concat(self._filled(), axis=0)

    def gather(self, indices: Any, name: Any = None) -> Any:
        """Some tensors along a new first axis."""
        parts = self._filled()
        return stack([parts[int(i)] for i in np.ravel(indices)], axis=0)

    def unstack(self, value: Any, name: Any = None) -> TensorArray:
        """The list of the parts of a tensor along its first axis."""
        self._parts = list(unstack(value, axis=0))
        return self

    def split(self, value: Any, lengths: Any, name: Any = None) -> TensorArray:
        """The list of parts of these lengths."""
        self._parts = list(split(value, [int(n) for n in np.ravel(lengths)]))
        return self

    def scatter(self, indices: Any, value: Any, name: Any = None) -> TensorArray:
        """The list with the parts of a tensor at these positions."""
        for place, part in zip(np.ravel(indices), unstack(value, axis=0), strict=True):
            self.write(place, part)
        return self

    def identity(self) -> TensorArray:
        """The list itself."""
        return self

    def mark_used(self) -> None:
        """Without effect."""

    def _of_dtype(self, value: Any) -> Any:
        if is_symbolic_tensor(value) or hasattr(value, "dtype"):
            return value
        return tensor(value, self.dtype)

    def _filled(self) -> list[Any]:
        """The tensors; zeros where nothing was written."""
        known = next((part for part in self._parts if part is not None), None)
        if known is None:
            return [zeros((), kind(self.dtype)) for _ in self._parts]
        blank = None
        found = []
        for part in self._parts:
            if part is None:
                blank = zeros(known.shape, kind(self.dtype)) if blank is None else blank
            found.append(blank if part is None else part)
        return found
