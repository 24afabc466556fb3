import json

import numpy as np
from tensorflow.keras.layers import Dense, Input
from tensorflow.keras.models import Model

rng = np.random.RandomState(3)
x = rng.rand(50, 10).astype("float32")
inputs = Input(shape=(10,))
code = Dense(4, activation="relu")(inputs)
decoded = Dense(10, activation="sigmoid")(code)
autoencoder = Model(inputs, decoded)
encoder = Model(inputs, code)
latent = Input(shape=(4,))
decoder = Model(latent, autoencoder.layers[-1](latent))
autoencoder.set_weights([rng.randn(*w.shape) * 0.3 for w in autoencoder.get_weights()])
autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
h = autoencoder.fit(x, x, epochs=4, batch_size=25, shuffle=False, verbose=0)
codes = encoder.predict(x, verbose=0)
again = decoder.predict(codes, verbose=0)
print(
    json.dumps(
        {
            "loss": h.history["loss"],
            "code": codes[0].tolist(),
            "same": bool(np.allclose(again, autoencoder.predict(x, verbose=0), atol=1e-6)),
        }
    )
)
