import json

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

tf.random.set_seed(0)
rng = np.random.default_rng(1)
wide = rng.normal(size=(64, 3)).astype("float32")
deep = rng.normal(size=(64, 5)).astype("float32")
target = (wide[:, :1] - deep[:, :1]).astype("float32")

a = keras.Input(shape=(3,), name="wide")
b = keras.Input(shape=(5,), name="deep")
h = layers.Dense(8, activation="relu", kernel_initializer=keras.initializers.Constant(0.1))(b)
h = layers.concatenate([a, h])
out = layers.Dense(1, kernel_initializer="ones", name="y")(h)
model = keras.Model(inputs=[a, b], outputs=out)

features = tf.data.Dataset.from_tensor_slices({"wide": wide, "deep": deep})
targets = tf.data.Dataset.from_tensor_slices(target)
data = (
    tf.data.Dataset.zip((features, targets))
    .cache()
    .batch(16)
    .prefetch(tf.data.AUTOTUNE)
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
hist = model.fit(data, epochs=3, validation_data=data.take(2), verbose=0)
print(
    json.dumps(
        {
            "loss": hist.history["loss"],
            "val_mae": hist.history["val_mae"],
            "evaluate": [float(v) for v in model.evaluate(data, verbose=0)],
            "predicted": np.ravel(model.predict(data, verbose=0))[:4].tolist(),
            "steps": len(data),
        }
    )
)
