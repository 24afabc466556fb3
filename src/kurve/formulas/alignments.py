"""Functions of `kurve.ops` for sequences that are not aligned with their labels."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from kurve.core.arguments import is_count
from kurve.formulas.calls import as_array, function, graph_of


@function
def ctc_loss(
    target: Any,
    output: Any,
    target_length: Any,
    output_length: Any,
    mask_index: int = 0,
) -> Any:
    """The loss (B,) of logits (B, T, C) whose labels (B, N) are not aligned with their
    steps, see `losses.CTC`; only the given numbers of labels and steps of each sequence
    count."""
    graph = graph_of(target, output, target_length, output_length)
    parts = [output, target, target_length, output_length]
    if graph is None:
        arrays = [np.asarray(as_array(part)) for part in parts]
        arrays[0] = arrays[0].astype(np.result_type(arrays[0].dtype, np.float32))
        leading = _leading(mask_index, *(a.shape for a in arrays))
        from kurve.engines.reference.ctc import ctc_forward
        from kurve.plan import Op

        op = Op("ctc", "ctc", arrays[0].shape, leading, attrs={"blank": mask_index})
        state: Any = None
        return ctc_forward(op, arrays, state, False)[0]
    tensors = [graph.as_tensor(part) for part in parts]
    leading = _leading(mask_index, *(tensor.sample for tensor in tensors))
    return graph.op("ctc", tensors, leading, attrs={"blank": mask_index})


def _leading(
    mask_index: Any, output: Any, target: Any, *lengths: Any
) -> tuple[int, ...]:
    """The axes before those of a sequence.

    Raises:
        ValueError: shapes that do not match, or a blank that is not a class.
    """
    leading = tuple(output[:-2])
    if len(output) < 2 or any(s != leading for s in (tuple(target[:-1]), *lengths)):
        raise ValueError(
            "[ctc_loss] output must be (B, T, C), target (B, N), and both lengths "
            f"(B,). Received: samples of shapes {output}, {target}, "
            f"{', '.join(map(str, lengths))}. Try ops.reshape."
        )
    if not is_count(mask_index, 0) or mask_index >= output[-1]:
        raise ValueError(
            "[ctc_loss] mask_index must be one of the classes. Received: mask_index="
            f"{mask_index!r} for {output[-1]} classes. Try 0."
        )
    return leading


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable labels of logits (B, T, C), of arrays.

    Args:
        inputs: logits, before the softmax.
        sequence_lengths: (B,), the number of valid steps of each.
        strategy: "greedy": the largest class of each step; "beam_search": the labels
            with the largest sums over alignments, among the best `beam_width` in each
            step.
        beam_width, top_paths: of the search; the number of results.
        merge_repeated: of "greedy": whether repeated labels count once.
        mask_index: the class that stands for no label.

    Returns:
        Labels (top_paths, B, T), int32, -1 after the last one, and (B, top_paths)
        their log probabilities; of "greedy" the negative sum of the largest logits.
    """
    x = np.asarray(as_array(inputs))
    x = x.astype(np.result_type(x.dtype, np.float32))
    lengths = np.asarray(as_array(sequence_lengths)).astype(np.int64)
    if x.ndim != 3 or lengths.shape != x.shape[:1]:
        raise ValueError(
            "[ctc_decode] inputs must be (B, T, C), and sequence_lengths (B,). "
            f"Received: shapes {x.shape} and {lengths.shape}. Try inputs[None]."
        )
    if strategy == "greedy":
        return _largest(x, lengths, merge_repeated, mask_index)
    if strategy != "beam_search":
        raise ValueError(
            "[ctc_decode] strategy must be 'greedy' or 'beam_search'. "
            f"Received: strategy={strategy!r}. Try 'greedy'."
        )
    if not is_count(beam_width) or not is_count(top_paths):
        raise ValueError(
            "[ctc_decode] beam_width and top_paths must be integers of at least 1. "
            f"Received: beam_width={beam_width!r}, top_paths={top_paths!r}. Try 100, 1."
        )
    labels = np.full((top_paths, *x.shape[:2]), -1, np.int32)
    scores = np.full((len(x), top_paths), -np.inf, x.dtype)
    for b, (logits, length) in enumerate(zip(x, lengths, strict=True)):
        found = _beams(logits[:length].astype(np.float64), beam_width, mask_index)
        for k, (path, score) in enumerate(found[:top_paths]):
            labels[k, b, : len(path)], scores[b, k] = path, score
    return labels, scores


def _largest(
    x: np.ndarray, lengths: np.ndarray, merge_repeated: bool, blank: int
) -> tuple[np.ndarray, np.ndarray]:
    count = np.arange(x.shape[1]) < lengths[:, None]
    chosen = np.where(count, x.argmax(axis=-1), blank)
    kept = chosen != blank
    if merge_repeated:
        kept[:, 1:] &= chosen[:, 1:] != chosen[:, :-1]
    labels = np.full((1, *chosen.shape), -1, np.int32)
    for b, row in enumerate(kept):
        labels[0, b, : row.sum()] = chosen[b, row]
    scores = -np.where(count, x.max(axis=-1), 0).sum(axis=1, keepdims=True)
    return labels, scores


def _beams(
    x: np.ndarray, width: int, blank: int
) -> list[tuple[tuple[int, ...], float]]:
    """The best labellings of one sequence, best first, each with two log probabilities:
    of alignments that end with a blank, and of those that do not."""
    nothing = -math.inf
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, nothing)}
    for row in x - np.logaddexp.reduce(x, axis=-1, keepdims=True):
        with_blank: dict[tuple[int, ...], float] = defaultdict(lambda: nothing)
        without: dict[tuple[int, ...], float] = defaultdict(lambda: nothing)
        for path, (ended, open_) in beams.items():
            both = float(np.logaddexp(ended, open_))
            with_blank[path] = float(np.logaddexp(with_blank[path], both + row[blank]))
            for c, log_p in enumerate(row):
                if c == blank:
                    continue
                if path and c == path[-1]:
                    same = open_ + log_p
                    without[path] = float(np.logaddexp(without[path], same))
                    more = ended + log_p
                else:
                    more = both + log_p
                longer = (*path, c)
                without[longer] = float(np.logaddexp(without[longer], more))
        scores = {
            path: float(np.logaddexp(with_blank[path], without[path]))
            for path in {**with_blank, **without}
        }
        best = sorted(scores, key=lambda path: scores[path], reverse=True)[:width]
        beams = {path: (with_blank[path], without[path]) for path in best}
    total = {path: float(np.logaddexp(*pair)) for path, pair in beams.items()}
    return sorted(total.items(), key=lambda item: item[1], reverse=True)
