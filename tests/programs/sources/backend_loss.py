import json

import numpy as np
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.models import Model


def r2(y_true, y_pred):
    rest = K.sum(K.square(y_true - y_pred), axis=-1)
    return K.mean(1 - rest / (K.sum(K.square(y_true), axis=-1) + K.epsilon()))


def sampling(args):
    mean, log_var = args
    epsilon = K.random_normal(shape=(K.shape(mean)[0], 2), mean=0.0, stddev=0.0)
    return mean + K.exp(log_var / 2) * epsilon


x = np.random.RandomState(0).rand(40, 6).astype("float32")
inputs = Input(shape=(6,))
hidden = Dense(5, activation="relu", kernel_initializer="ones")(inputs)
mean = Dense(2, kernel_initializer="ones")(hidden)
log_var = Dense(2, kernel_initializer="zeros")(hidden)
z = Lambda(sampling, output_shape=(2,))([mean, log_var])
outputs = Dense(6, activation="sigmoid", kernel_initializer="zeros")(z)
vae = Model(inputs, outputs)
vae.compile(
    optimizer="adam",
    loss=lambda t, p: K.mean(K.binary_crossentropy(t, p), axis=-1),
    metrics=[r2],
)
h = vae.fit(x, x, epochs=2, batch_size=20, shuffle=False, verbose=0)
first = K.function([inputs], [mean])
print(
    json.dumps(
        {
            "loss": h.history["loss"],
            "shape": list(K.int_shape(z)),
            "mean": np.round(np.asarray(first([x[:1]])[0]), 3).tolist(),
            "dot": K.eval(K.dot(K.variable([[1.0, 2.0]]), K.variable([[3.0], [4.0]]))).tolist(),
        }
    )
)
