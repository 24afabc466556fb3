import json
import os
import tempfile

import numpy as np
from tensorflow.keras import callbacks, layers, models, optimizers

rng = np.random.RandomState(5)
x, y = rng.rand(60, 2), rng.rand(60, 1)
seen = []


class Watch(callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["val_loss"])
        seen.append((epoch, self.model.optimizer.learning_rate.numpy().item()))
        if epoch == 4:
            self.model.stop_training = True


def schedule(epoch, lr):
    return lr if epoch < 2 else lr * 0.5


model = models.Sequential(
    [
        layers.Input((2,)),
        layers.Dense(4, activation="elu", kernel_initializer="ones"),
        layers.Dense(1, kernel_initializer="ones"),
    ]
)
model.compile(optimizer=optimizers.SGD(0.02), loss="mean_absolute_error")
folder = tempfile.mkdtemp()
path = os.path.join(folder, "best.keras")
watch = Watch()
history = model.fit(
    x,
    y,
    epochs=9,
    batch_size=15,
    shuffle=False,
    verbose=0,
    validation_data=(x, y),
    callbacks=[
        watch,
        callbacks.LearningRateScheduler(schedule),
        callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True),
        callbacks.CSVLogger(os.path.join(folder, "log.csv")),
    ],
)
best = models.load_model(path)
with open(os.path.join(folder, "log.csv")) as file:
    lines = len(file.readlines())
print(
    json.dumps(
        {
            "loss": history.history["loss"],
            "rates": [rate for _, rate in seen],
            "epochs": history.epoch,
            "best": float(best.evaluate(x, y, verbose=0)) - min(watch.losses),
            "lines": lines,
        }
    )
)
