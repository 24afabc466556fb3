"""A quick look at an installed wheel, for systems where the suite is too slow or cannot
run: the module loads, a model trains alike on one and two threads, a file comes back,
and another thread predicts the same.

    python packaging/smoke.py
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

start = time.perf_counter()
import numpy as np  # noqa: E402

numpy_seconds = time.perf_counter() - start
import kurve  # noqa: E402
from kurve import _core, layers, models  # noqa: E402

kurve_seconds = time.perf_counter() - start - numpy_seconds


def trained(threads: int, x: np.ndarray, y: np.ndarray) -> models.Sequential:
    kurve.set_threads(threads)
    kurve.utils.set_random_seed(1)
    hidden = [layers.Dense(256, "relu") for _ in range(2)]
    model = models.Sequential([kurve.Input((1,)), *hidden, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, epochs=3, batch_size=20, verbose=0)
    return model


def main() -> None:
    x = np.linspace(-1, 1, 400, dtype=np.float32)[:, None]
    y = np.sin(4 * x)
    one, two = trained(1, x, y), trained(2, x, y)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = two.predict(x, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.kurve")
        two.save(path)
        two.save(path)  # over the old one
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
        loaded = models.load_model(path)
        folder_of_fit = Path(folder, "checkpoints")
        two.fit(x, y, epochs=2, verbose=0, checkpoint=folder_of_fit)
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(loaded.predict(x, verbose=0)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], expected)
    print(
        f"Kurve {kurve.__version__}, {_core.isa()}, loss "
        f"{two.evaluate(x, y, verbose=0):.9g}, imported in {kurve_seconds:.3f} s "
        f"after NumPy's {numpy_seconds:.3f} s"
    )


if __name__ == "__main__":
    main()
