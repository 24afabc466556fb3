"""A recurrent network that writes text letter by letter, at several temperatures."""

import json

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

text = "the cat sat on the mat and the rat ran to the hat. " * 6
maxlen, step = 8, 3
sentences, next_letters = [], []
for i in range(0, len(text) - maxlen, step):
    sentences.append(text[i : i + maxlen])
    next_letters.append(text[i + maxlen])
letters = sorted(set(text))
index_of = {letter: letters.index(letter) for letter in letters}
x = np.zeros((len(sentences), maxlen, len(letters)), dtype=bool)
y = np.zeros((len(sentences), len(letters)), dtype=bool)
for i, sentence in enumerate(sentences):
    for t, letter in enumerate(sentence):
        x[i, t, index_of[letter]] = 1
    y[i, index_of[next_letters[i]]] = 1

model = keras.models.Sequential()
model.add(layers.LSTM(12, input_shape=(maxlen, len(letters))))
model.add(layers.Dense(len(letters), activation="softmax"))
rng = np.random.RandomState(0)
model.set_weights([rng.randn(*w.shape) * 0.3 for w in model.get_weights()])
model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(0.02))


def reweight(preds, temperature=1.0):
    preds = np.asarray(preds).astype("float64")
    preds = np.exp(np.log(preds) / temperature)
    return preds / np.sum(preds)


losses, written = [], {}
for epoch in range(1, 4):
    losses += model.fit(x, y, batch_size=32, epochs=1, shuffle=False, verbose=0).history["loss"]
for temperature in (0.2, 1.2):
    generated = text[:maxlen]
    for _ in range(10):
        sampled = np.zeros((1, maxlen, len(letters)))
        for t, letter in enumerate(generated[-maxlen:]):
            sampled[0, t, index_of[letter]] = 1.0
        preds = reweight(model.predict(sampled, verbose=0)[0], temperature)
        generated += letters[int(np.argmax(preds))]
    written[str(temperature)] = [float(preds.max()), generated[maxlen : maxlen + 3]]
print(json.dumps({"loss": losses, "written": written}))
