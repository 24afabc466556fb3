"""A variational autoencoder: a layer that draws, one that adds the divergence."""

import json

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

rng = np.random.RandomState(2)
images = (rng.rand(32, 8, 8, 1) > 0.6).astype("float32")
noise = tf.constant(rng.randn(1, 2).astype("float32"))


class Divergence(layers.Layer):
    def call(self, inputs):
        mean, log_var = inputs
        kl = -0.5 * tf.reduce_mean(1 + log_var - tf.square(mean) - tf.exp(log_var))
        self.add_loss(0.1 * kl)
        return inputs


class Sampling(layers.Layer):
    def call(self, inputs):
        mean, log_var = inputs
        return mean + tf.exp(0.5 * log_var) * noise


encoder_inputs = keras.Input(shape=(8, 8, 1))
h = layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(encoder_inputs)
h = layers.Dense(6, activation="relu")(layers.Flatten()(h))
z_mean = layers.Dense(2, name="z_mean")(h)
z_log_var = layers.Dense(2, name="z_log_var")(h)
z_mean, z_log_var = Divergence()([z_mean, z_log_var])
z = Sampling()([z_mean, z_log_var])
encoder = keras.Model(encoder_inputs, [z_mean, z_log_var, z], name="encoder")

latent = keras.Input(shape=(2,))
h = layers.Dense(4 * 4 * 4, activation="relu")(latent)
h = layers.Reshape((4, 4, 4))(h)
h = layers.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same")(h)
decoder = keras.Model(latent, layers.Conv2D(1, 3, activation="sigmoid", padding="same")(h))
vae = keras.Model(encoder_inputs, decoder(encoder(encoder_inputs)[2]), name="vae")
vae.set_weights([rng.randn(*w.shape) * 0.3 for w in vae.get_weights()])
vae.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy")
history = vae.fit(images, images, epochs=3, batch_size=8, shuffle=False, verbose=0)
codes = encoder.predict(images[:2], verbose=0)
picture = decoder.predict(np.array([[-1.0, 0.5]]), verbose=0)
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "codes": [c.tolist() for c in codes],
            "picture": picture[0, :, 3, 0].tolist(),
            "layers": [layer.name for layer in encoder.layers if layer.name.startswith("z")],
        }
    )
)
