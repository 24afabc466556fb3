import json

import numpy as np
from keras.callbacks import EarlyStopping
from keras.layers import Activation, Dense
from keras.models import Sequential
from keras.optimizers import SGD
from keras.utils import to_categorical

rng = np.random.RandomState(7)
X = rng.rand(120, 4)
labels = (X.sum(axis=1) > 2).astype(int) + (X[:, 0] > 0.5)
Y = to_categorical(labels)

model = Sequential()
model.add(Dense(12, input_dim=4, kernel_initializer="normal"))
model.add(Activation("tanh"))
model.add(Dense(3, activation="softmax"))
model.set_weights([rng.randn(*w.shape) * 0.4 for w in model.get_weights()])
model.compile(
    loss="categorical_crossentropy",
    optimizer=SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    metrics=["accuracy"],
)
stop = EarlyStopping(monitor="val_loss", patience=2)
history = model.fit(
    X, Y, validation_split=0.25, epochs=6, batch_size=10, shuffle=False, verbose=0,
    callbacks=[stop],
)
loss, accuracy = model.evaluate(X, Y, verbose=0)
classes = np.argmax(model.predict(X[:5], verbose=0), axis=-1)
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "val_loss": history.history["val_loss"],
            "keys": sorted(history.history),
            "accuracy": float(accuracy),
            "classes": classes.tolist(),
        }
    )
)
