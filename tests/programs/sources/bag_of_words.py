"""Reviews and news as bags of words, and house prices by folds."""

import json

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

rng = np.random.RandomState(3)
WORDS = 40
reviews = [rng.randint(1, WORDS, size=rng.randint(4, 12)).tolist() for _ in range(90)]
positive = np.array([sum(1 for w in r if w < 15) % 2 for r in reviews])
topics = np.array([r[0] % 4 for r in reviews])


def vectorize(sequences, dimension=WORDS):
    results = np.zeros((len(sequences), dimension))
    for i, sequence in enumerate(sequences):
        results[i, sequence] = 1.0
    return results


def weighted(model):
    model.set_weights([rng.randn(*w.shape) * 0.3 for w in model.get_weights()])
    return model


x = vectorize(reviews)
model = weighted(
    keras.Sequential(
        [
            layers.Dense(16, activation="relu", input_shape=(WORDS,)),
            layers.Dense(16, activation="relu", kernel_regularizer=keras.regularizers.l2(0.002)),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
)
model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
y = np.asarray(positive).astype("float32")
history = model.fit(
    x[20:], y[20:], epochs=3, batch_size=32, shuffle=False, verbose=0,
    validation_data=(x[:20], y[:20]),
)

news = weighted(
    keras.Sequential(
        [
            keras.Input((WORDS,)),
            layers.Dense(12, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )
)
news.compile(
    optimizer=keras.optimizers.RMSprop(learning_rate=0.01),
    loss="categorical_crossentropy",
    metrics=["accuracy"],
)
one_hot = keras.utils.to_categorical(topics)
topic_history = news.fit(
    x, one_hot, epochs=4, batch_size=16, shuffle=False, validation_split=0.2, verbose=0
)

houses = rng.uniform(0, 50, size=(40, 5))
prices = houses @ [0.3, 0.1, -0.2, 0.05, 0.4] + 5
houses = (houses - houses.mean(axis=0)) / houses.std(axis=0)


def build_model():
    net = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(1)])
    net.set_weights([np.cos(np.arange(w.size)).reshape(w.shape) * 0.5 for w in net.get_weights()])
    net.compile(optimizer="rmsprop", loss="mse", metrics=["mae"])
    return net


k, size, scores, histories = 4, 10, [], []
for i in range(k):
    part = slice(i * size, (i + 1) * size)
    rest = np.r_[0 : i * size, (i + 1) * size : k * size]
    fold = build_model()
    h = fold.fit(
        houses[rest], prices[rest], validation_data=(houses[part], prices[part]),
        epochs=3, batch_size=5, shuffle=False, verbose=0,
    )
    histories.append(h.history["val_mae"])
    scores.append(fold.evaluate(houses[part], prices[part], verbose=0)[1])
average = [np.mean([h[i] for h in histories]) for i in range(3)]
print(
    json.dumps(
        {
            "history": history.history,
            "topics": topic_history.history["val_loss"],
            "guesses": np.argmax(news.predict(x[:12], verbose=0), axis=-1).tolist(),
            "scores": [float(s) for s in scores],
            "average": [float(a) for a in average],
        }
    )
)
