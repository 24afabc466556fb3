import json

import numpy as np
import tensorflow as tf

series = np.sin(np.arange(60) * 0.3).astype("float32")
window_size = 8


def windowed_dataset(series, window_size, batch_size):
    ds = tf.data.Dataset.from_tensor_slices(series)
    ds = ds.window(window_size + 1, shift=1, drop_remainder=True)
    ds = ds.flat_map(lambda w: w.batch(window_size + 1))
    ds = ds.map(lambda w: (w[:-1], w[-1]))
    return ds.batch(batch_size).prefetch(1)


train = windowed_dataset(series, window_size, 10)
model = tf.keras.models.Sequential(
    [tf.keras.layers.Dense(1, input_shape=[window_size], kernel_initializer="zeros")]
)
model.compile(loss="mse", optimizer=tf.keras.optimizers.SGD(learning_rate=0.05))
history = model.fit(train, epochs=5, verbose=0)
forecast = [
    model.predict(series[t : t + window_size][np.newaxis], verbose=0)[0, 0]
    for t in range(5)
]
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "forecast": [float(f) for f in forecast],
            "mae": float(
                tf.reduce_mean(tf.abs(series[window_size : window_size + 5] - forecast))
            ),
            "weights": model.layers[0].get_weights()[0].ravel().tolist(),
        }
    )
)
