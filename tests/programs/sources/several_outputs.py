import json

import numpy as np
import tensorflow.keras as keras
import tensorflow.keras.layers as L
from tensorflow.keras.regularizers import l2
from tensorflow.keras.utils import to_categorical

rng = np.random.RandomState(9)
x = rng.randn(45, 4).astype("float32")
value = x[:, :1] * 2
kind = to_categorical((x[:, 1] > 0).astype(int), num_classes=2)

inp = L.Input(shape=(4,), name="x")
trunk = L.Dense(6, activation="relu", kernel_regularizer=l2(0.01), name="trunk")(inp)
trunk = L.BatchNormalization(name="norm")(trunk)
shortcut = L.add([trunk, L.Dense(6, name="side")(inp)])
one = L.Dense(1, name="value")(shortcut)
two = L.Dense(2, activation="softmax", name="kind")(L.LeakyReLU()(shortcut))
model = keras.models.Model(inputs=inp, outputs=[one, two])
model.set_weights([np.abs(rng.randn(*w.shape)) * 0.2 for w in model.get_weights()])
model.compile(
    optimizer="adamax",
    loss={"value": "mae", "kind": "categorical_crossentropy"},
    loss_weights={"value": 1.0, "kind": 0.5},
    metrics={"kind": ["accuracy"]},
)
h = model.fit(
    x, {"value": value, "kind": kind}, epochs=3, batch_size=15, shuffle=False, verbose=0
)
a, b = model.predict(x[:2], verbose=0)
print(
    json.dumps(
        {
            "loss": h.history["loss"],
            "keys": sorted(h.history),
            "value": a.ravel().tolist(),
            "kind": b.ravel().tolist(),
            "names": [layer.name for layer in model.layers if layer.weights],
        }
    )
)
