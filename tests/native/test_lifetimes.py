"""No buffer is released before its last reader is done.

In a build with KURVE_POISON (make sanitize-address), memory becomes NaN when nobody may
read it any more, and what is given back too early shows here; in others it shows only
where another value has been written there since.
"""

from __future__ import annotations

import numpy as np
import pytest

import kurve
from kurve import utils
from kurve.engines.native import NativeEngine
from kurve.engines.reference import ReferenceEngine
from tests.faults.graphs import GRAPHS, data

pytestmark = pytest.mark.usefixtures("native")


@pytest.mark.parametrize("batch", [3, 200])
@pytest.mark.parametrize("name", GRAPHS)
def test_both_engines_agree(name: str, batch: int) -> None:
    """Outputs, losses and weights; small batches save the gradients of outputs, large
    ones reuse their memory."""
    found = []
    for engine in ("native", "reference"):
        utils.set_random_seed(7)
        model, loss, shapes = GRAPHS[name]()
        model.compile("sgd", loss, engine=engine)
        x, y = data(model, shapes, batch)
        outputs = model.predict(x, verbose=0)
        history = model.fit(x, y, batch_size=batch, epochs=2, verbose=0).history
        tested = model.evaluate(x, y, verbose=0)
        found.append((outputs, history["loss"], tested, model.get_weights()))
    fast, right = found
    for one, other in zip(fast[0], right[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(fast[1], right[1], rtol=1e-3)
    np.testing.assert_allclose(fast[2], right[2], rtol=1e-3)
    for one, other in zip(fast[3], right[3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_long_chains_with_old_readers() -> None:
    """Values that are read again after many others were written and released."""
    utils.set_random_seed(2)
    draw = np.random.default_rng(2)
    x = kurve.Input((6,))
    values = [kurve.layers.Dense(6, "tanh")(x)]
    for _ in range(60):
        old = values[int(draw.integers(len(values)))]
        new = kurve.layers.Dense(6, "tanh")(values[-1])
        values.append(kurve.layers.Add()([old, new]))
    model = kurve.Model(x, [values[-1], kurve.layers.Dense(2)(values[3])])
    given = draw.normal(size=(50, 6)).astype(np.float32)
    network = model._network
    fast = NativeEngine().compile(network.plan).predict(network.state, given)
    right = ReferenceEngine().compile(network.plan).predict(network.state, given)
    for one, other in zip(fast, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
