"""Writes encoding.json: what TensorFlow 2.15 and its Keras make of text and numbers.

python encoding.py        in an environment with tensorflow
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [["b", "a", "c"], ["b", "d", "a"], ["e", "b", "Zü"]]
QUERY = [["b", "x", "a"], ["zz", "Zü", "b"]]
INTEGERS = [[5, 5, 7], [7, 7, 9], [-3, -3, 9]]
NUMBERS = [[5, 11, 0], [-4, 9, 7]]
LENGTHS = [*range(20), 24, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200, 300]
TEXTS = ["abcdefghijklmnopqrstuvwxyz"[n % 7 :] * 12 for n in LENGTHS]
TEXTS = [text[:n] for text, n in zip(TEXTS, LENGTHS, strict=True)] + ["Zürich", "-17"]
KEY = (133, 137)
LOOKUPS = [
    (kind, mode, mask, outside)
    for kind in ("StringLookup", "IntegerLookup")
    for mode in ("int", "one_hot", "multi_hot", "count", "tf_idf")
    for mask in (None, "a" if kind[0] == "S" else 0)
    for outside in (1, 2)
]
HASHINGS = [
    {"num_bins": 5, "salt": salt, "mask_value": mask, "output_mode": mode}
    for salt in (None, 133, KEY)
    for mask in (None, "a")
    for mode in ("int", "multi_hot")
]


def plain(values: Any) -> list[Any]:
    flat = np.asarray(values).ravel().tolist()
    return [v.decode() if isinstance(v, bytes) else v for v in flat]


def lookup(library: Any, case: tuple[Any, ...], constant: Any) -> list[list[Any]]:
    """The vocabulary that the layer learns, and what it makes of the query."""
    kind, mode, mask, outside = case
    is_text = kind == "StringLookup"
    made = getattr(library, kind)(
        max_tokens=6, num_oov_indices=outside, mask_token=mask, output_mode=mode
    )
    made.adapt(constant(WORDS if is_text else INTEGERS))
    query = np.array(QUERY if is_text else NUMBERS)
    query = query.reshape(-1, 1) if mode == "one_hot" else query
    return [plain(made.get_vocabulary()), plain(made(constant(query)))]


def main() -> None:
    import tensorflow as tf

    layers, strings = tf.keras.layers, tf.strings
    crossed = [[["a"], ["bb"], ["Zürich"]], [["x"], ["y"], ["z"]]]
    numbered = [np.array([[1], [2], [-3]]), crossed[1]]
    found = {
        "fingerprints": plain(strings.to_hash_bucket_fast(TEXTS, 2**62)),
        "sip hashes": plain(strings.to_hash_bucket_strong(TEXTS, 2**62, KEY)),
        "crossed": plain(layers.HashedCrossing(1000)(list(map(tf.constant, crossed)))),
        "numbered": plain(layers.HashedCrossing(9)(list(map(tf.constant, numbered)))),
        "hashed numbers": plain(layers.Hashing(7)(np.array([[1, -2, 300]]))),
        "hashed": [plain(layers.Hashing(**g)(tf.constant(WORDS))) for g in HASHINGS],
        "lookups": [lookup(layers, case, tf.constant) for case in LOOKUPS],
        "inverted": plain(
            layers.StringLookup(vocabulary=["a", "b"], invert=True, mask_token="")(
                np.array([[0, 1, 2, 3, 9]])
            )
        ),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
