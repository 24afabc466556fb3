"""Tables whose encoded columns are mostly zero, as scikit-learn makes them: words of
texts, categories, and one-hot classes, all sparse matrices."""

import json

import keras
import numpy as np
import pandas as pd
import scipy.sparse
from keras import layers
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

rng = np.random.RandomState(4)
WORDS = np.array([f"word{i}" for i in range(60)])
n = 150
texts = [" ".join(rng.choice(WORDS, rng.randint(3, 9))) for _ in range(n)]
table = pd.DataFrame(
    {
        "text": texts,
        "city": rng.choice([f"city{i}" for i in range(25)], n),
        "kind": rng.choice(["a", "b", "c"], n),
        "price": rng.gamma(2.0, 50.0, n),
    }
)
kinds = OneHotEncoder().fit_transform(table[["kind"]])
dear = (table.price > 90).to_numpy().astype("float32")
columns = ColumnTransformer(
    [
        ("words", TfidfVectorizer(), "text"),
        ("cities", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ("numbers", StandardScaler(), ["price"]),
    ]
)
x = columns.fit_transform(table)
train, test = x[:120], x[120:]


def weighted(model):
    model.set_weights([rng.randn(*w.shape) * 0.3 for w in model.get_weights()])
    return model


model = weighted(
    keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
)
model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    train, kinds[:120], epochs=3, batch_size=16, shuffle=False, verbose=0,
    validation_data=(test, kinds[120:]),
)
scores = model.evaluate(test, kinds[120:], verbose=0)

words = keras.Input((60,), name="words")
numbers = keras.Input((1,), name="numbers")
joined = layers.Concatenate()([layers.Dense(4, activation="tanh")(words), numbers])
two = weighted(keras.Model([words, numbers], layers.Dense(1, activation="sigmoid")(joined)))
two.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
counts = CountVectorizer(vocabulary=list(WORDS)).transform(table["text"])
price = table[["price"]] / 100
two_history = two.fit(
    {"words": counts, "numbers": price}, dear, epochs=2, shuffle=False, verbose=0,
    validation_split=0.2, class_weight={0: 1.0, 1: 2.0},
)
guesses = two.predict([scipy.sparse.coo_matrix(counts[:5]), price[:5]], verbose=0)


def batches():
    while True:
        for i in range(0, 120, 30):
            yield train[i : i + 30].toarray(), np.asarray(kinds[i : i + 30].todense())


again = model.fit(batches(), steps_per_epoch=4, epochs=1, verbose=0)
print(
    json.dumps(
        {
            "sparse": [bool(scipy.sparse.issparse(m)) for m in (x, kinds, counts)],
            "history": history.history,
            "scores": [float(s) for s in scores],
            "two": two_history.history,
            "guesses": guesses.tolist(),
            "again": again.history["loss"],
        }
    )
)
