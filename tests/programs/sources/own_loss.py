import json

import numpy as np
import tensorflow as tf
from tensorflow.keras import backend as K
from tensorflow.keras.layers import Dense
from tensorflow.keras.models import Sequential


def rmse(y_true, y_pred):
    return tf.sqrt(tf.reduce_mean(tf.square(y_pred - y_true), axis=-1) + 1e-6)


def weighted(y_true, y_pred):
    error = tf.cast(y_true, tf.float32) - y_pred
    return tf.reduce_mean(tf.where(error > 0, 2.0 * tf.square(error), tf.abs(error)), -1)


def within(y_true, y_pred):
    return tf.reduce_mean(tf.cast(tf.abs(y_true - y_pred) < 0.5, tf.float32), axis=-1)


rng = np.random.RandomState(0)
x = rng.randn(80, 3).astype("float32")
y = x @ np.array([[1.0], [-2.0], [0.5]], "float32")
K.clear_session()
result = {"epsilon": K.epsilon(), "format": K.image_data_format()}
for loss in (rmse, weighted):
    model = Sequential([Dense(6, activation="relu", input_shape=(3,)), Dense(1)])
    model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
    model.compile(optimizer="rmsprop", loss=loss, metrics=[within])
    h = model.fit(x, y, batch_size=20, epochs=3, shuffle=False, verbose=0)
    result[loss.__name__] = h.history["loss"]
    result[loss.__name__ + " within"] = h.history["within"]
print(json.dumps(result))
