import json

import numpy as np
from tensorflow.keras.callbacks import EarlyStopping
from tensorflow.keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import SGD

rng = np.random.RandomState(5)
x = rng.rand(48, 8, 8, 1).astype("float32")
y = np.eye(3)[np.arange(48) % 3]
x[:, :2] *= np.arange(48)[:, None, None, None] % 3


def batches(size):
    while True:
        for i in range(0, len(x), size):
            yield x[i : i + size], y[i : i + size]


model = Sequential()
model.add(Conv2D(4, (3, 3), padding="same", input_shape=(8, 8, 1)))
model.add(Activation("relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.0))
model.add(Flatten())
model.add(Dense(3, activation="softmax"))
model.compile(
    loss="categorical_crossentropy",
    optimizer=SGD(lr=0.1, decay=1e-2, momentum=0.9, nesterov=True),
    metrics=["acc"],
)
model.set_weights([rng.randn(*w.shape) * 0.2 for w in model.get_weights()])
first = model.fit(x, y, batch_size=16, epochs=3, verbose=0, shuffle=False)
second = model.fit_generator(
    batches(16),
    steps_per_epoch=3,
    epochs=3,
    verbose=0,
    validation_data=(x, y),
    shuffle=False,
    workers=0,
    callbacks=[EarlyStopping(monitor="val_acc", patience=5)],
)
classes = model.predict_classes(x[:9])
print(
    json.dumps(
        {
            "loss": first.history["loss"] + second.history["loss"],
            "acc": [round(float(a), 4) for a in second.history["acc"]],
            "val_acc": [round(float(a), 4) for a in second.history["val_acc"]],
            "classes": classes.tolist(),
            "proba": model.predict_proba(x[:2]).tolist(),
        }
    )
)
