import matplotlib.pyplot as plt
import numpy as np

x = np.arange(0, 20, 0.1)
y = np.sin(x)

plt.plot(x, y)
plt.show()

from keras import layers, models, optimizers

model = models.Sequential()
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(1))

model.compile(loss="mse", optimizer="adam")
hist = model.fit(x, y, steps_per_epoch=10, epochs=10)

test_x = x + 0.05
pred = model.predict(test_x)

plt.plot(test_x, np.sin(test_x))
plt.plot(test_x, pred)
plt.show()
