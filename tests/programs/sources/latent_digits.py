import json

import numpy as np
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.losses import binary_crossentropy
from keras.models import Model

rng = np.random.RandomState(1)
x = rng.uniform(size=(32, 12)).astype("float32")


def draw(args):
    mean, log_var = args
    noise = K.random_normal(shape=(K.shape(mean)[0], K.int_shape(mean)[1]), stddev=0.0)
    return mean + K.exp(0.5 * log_var) * noise


inputs = Input(shape=(12,))
h = Dense(8, activation="relu")(inputs)
z_mean = Dense(2, name="z_mean")(h)
z_log_var = Dense(2, name="z_log_var")(h)
z = Lambda(draw, output_shape=(2,))([z_mean, z_log_var])
encoder = Model(inputs, [z_mean, z_log_var, z], name="encoder")
latent = Input(shape=(2,))
decoded = Dense(12, activation="sigmoid")(Dense(8, activation="relu")(latent))
decoder = Model(latent, decoded, name="decoder")
outputs = decoder(encoder(inputs)[2])
vae = Model(inputs, outputs, name="vae")
reconstruction = binary_crossentropy(K.batch_flatten(inputs), K.batch_flatten(outputs))
reconstruction *= 12
kl = 1 + z_log_var - K.square(z_mean) - K.exp(z_log_var)
kl = -0.5 * K.sum(kl, axis=-1)
vae.add_loss(K.mean(reconstruction + kl))
vae.compile(optimizer="adam")
vae.set_weights([rng.normal(size=w.shape) * 0.3 for w in vae.get_weights()])
history = vae.fit(
    x, epochs=3, batch_size=8, shuffle=False, validation_data=(x, None), verbose=0
)
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "val_loss": history.history["val_loss"],
            "code": encoder.predict(x[:2], verbose=0)[0].tolist(),
            "picture": decoder.predict(np.ones((1, 2)), verbose=0)[0, :4].tolist(),
        }
    )
)
