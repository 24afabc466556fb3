"""Loads mutated copies of a file of Keras's, in a process of its own.

    python mutate_exchange.py FILE FIRST LAST

Prints, as JSON, how many copies were refused, how many were the same model and how many
another one, the longest time of one in seconds, and how much memory was taken at most.
Mutations know the format: they go for sizes, addresses and signatures, not only bits.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from kurve import models
from kurve.saving import ModelFileError
from kurve.utils import set_random_seed

SIGNS = [b"HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"PK\x01\x02", b"PK\x03\x04"]
SIGNS += [b"PK\x05\x06", b'"class_name"', b'"units"', b'"config"', b"vars", b"kernel"]
EXTREMES = [0, 1, 2, 8, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]


def mutated(raw: bytes, seed: int) -> bytes:
    """A copy with one to eight changes."""
    rng = random.Random(seed)
    data = bytearray(raw)
    marks = [i for sign in SIGNS for i in _places(raw, sign)]
    for _ in range(rng.choice([1, 1, 1, 2, 4, 8])):
        near = rng.random() < 0.6
        at = rng.choice(marks) + rng.randrange(48) if near else rng.randrange(len(data))
        at = min(at, len(data) - 1) if data else 0
        what = rng.randrange(8)
        if what <= 2:
            data[at : at + 1] = bytes([rng.choice([0, 1, 255, rng.randrange(256)])])
        elif what == 3 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 4:
            at -= at % 8
            number = rng.choice([*EXTREMES, len(raw), rng.randrange(len(raw))])
            width = rng.choice([2, 4, 8])
            data[at : at + width] = (number % 256**width).to_bytes(width, "little")
        elif what == 5:  # a piece of the file somewhere else
            size, source = rng.choice([8, 40, 512]), rng.randrange(len(raw))
            data[at : at + size] = raw[source : source + size]
        elif what == 6:
            data[at : at + rng.choice([1, 8, 200])] = b""
        else:
            del data[at if rng.random() < 0.2 else len(data) :]
        if not data:
            break
    return bytes(data)


def _places(raw: bytes, sign: bytes) -> list[int]:
    found, at = [], raw.find(sign)
    while at >= 0:
        found.append(at)
        at = raw.find(sign, at + 1)
    return found


def content(model: Any) -> Any:
    """All that a file says of a model."""
    state = model._network.state
    arrays = (state.params, state.buffers, state.slots, state.scalars)
    optimizer = model.optimizer and model.optimizer.get_config()
    config = model.get_config()
    return (
        json.dumps([config, optimizer, model.metrics_names, state.step, state.seed]),
        [np.asarray(a).tobytes() for a in arrays],
    )


def main(path: Path, first: int, last: int) -> dict[str, Any]:
    raw = path.read_bytes()
    set_random_seed(1)  # of models whose file has no seed
    expected = content(models.load_model(path))
    counts = {"refused": 0, "same": 0, "changed": 0}
    longest, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for seed in range(first, last):
            copy.write_bytes(mutated(raw, seed))
            set_random_seed(1)
            start = time.thread_time()
            try:
                model = models.load_model(copy)
            except ModelFileError:
                counts["refused"] += 1
            else:
                kind = "same" if content(model) == expected else "changed"
                counts[kind] += 1
            longest = max(longest, time.thread_time() - start)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {**counts, "longest": longest, "memory": taken * 1024, "file": len(raw)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
