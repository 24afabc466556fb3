"""Learn y = sin(x) from 200 points: the article's program, then a better model.

Writes sine_data.png, 10_10.png, 30_30.png and better.png into the current directory and
prints the test errors.
"""

# %% Imports
import matplotlib

matplotlib.use("Agg")  # writes files, needs no display

import matplotlib.pyplot as plt
import numpy as np

from kurve import layers, models, optimizers

# %% The data
x = np.arange(0, 20, 0.1)
y = np.sin(x)

plt.plot(x, y)
plt.savefig("sine_data.png")

# %% The network
model = models.Sequential()
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(1))
model.compile(loss="mse", optimizer="adam")

# %% Training: 10 epochs of 10 steps
hist = model.fit(x, y, steps_per_epoch=10, epochs=10)

# %% Predictions between the training points
test_x = x + 0.05
test_y = np.sin(test_x)
pred_y = model.predict(test_x)

plt.figure()
plt.plot(test_x, test_y)
plt.plot(test_x, pred_y)
plt.savefig("10_10.png")

predictions = {"raw x, 10 epochs of 10 steps": pred_y}

# %% The same with a fresh model: 30 epochs of 30 steps
model = models.Sequential()
model.add(layers.Dense(256, activation="relu", input_shape=(1,)))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(1))
model.compile(loss="mse", optimizer="adam")

hist = model.fit(x, y, steps_per_epoch=30, epochs=30)
pred_y = model.predict(test_x)

plt.figure()
plt.plot(test_x, test_y)
plt.plot(test_x, pred_y)
plt.savefig("30_30.png")

predictions["raw x, 30 epochs of 30 steps"] = pred_y

# %% A better model: standardized x and a falling learning rate
normalization = layers.Normalization()
normalization.adapt(x)
rate = optimizers.schedules.CosineDecay(1e-3, decay_steps=900)

model = models.Sequential([normalization])
for _ in range(7):
    model.add(layers.Dense(256, activation="relu"))
model.add(layers.Dense(1))
model.compile(loss="mse", optimizer=optimizers.Adam(rate))

hist = model.fit(x, y, steps_per_epoch=10, epochs=90, verbose=0)
predictions["normalised x, 90 epochs of 10 steps"] = model.predict(test_x)

# %% Why: far from 0 the raw network has hardly any bends to form a sine
near, far = test_x <= 10, test_x > 10
print(f"\n{'test error (MSE)':40}{'x <= 10':>10}{'x > 10':>10}")

fig, panels = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
for panel, (name, pred_y) in zip(panels, predictions.items(), strict=True):
    error = (pred_y[:, 0] - test_y) ** 2
    print(f"{name:40}{error[near].mean():10.5f}{error[far].mean():10.5f}")
    panel.axvspan(10, 20, color="tab:blue", alpha=0.08, linewidth=0)
    panel.plot(test_x, pred_y, color="tab:blue", linewidth=2.5, label="prediction")
    panel.plot(test_x, test_y, "k--", linewidth=1, label="truth")
    for start, part in (0, near), (10, far):
        text = f"MSE {error[part].mean():.2g}"
        panel.text(start + 5, 1.35, text, ha="center", va="center")
    panel.set(title=name.replace(", ", "\n"), xlabel="x", ylim=(-1.3, 1.6))
    panel.spines[["top", "right"]].set_visible(False)
handles = panels[0].get_lines()
fig.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
fig.savefig("better.png")

print("\nPictures: sine_data.png, 10_10.png, 30_30.png, better.png")
