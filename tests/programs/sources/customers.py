"""A table of customers from a CSV file: scaled numbers, encoded categories, weights of
the classes, and the predictions joined to the table."""

import io
import json

import keras
import numpy as np
import pandas as pd
from keras import layers
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_class_weight

rng = np.random.RandomState(11)
n = 120
table = pd.DataFrame(
    {
        "id": np.arange(n),
        "country": rng.choice(["France", "Spain", "Germany"], n),
        "gender": rng.choice(["Male", "Female"], n),
        "age": rng.randint(18, 80, n),
        "balance": np.round(rng.rand(n) * 1e5, 2),
    }
)
table["left"] = ((table.age > 50) & (table.country != "Spain")).astype(int)
table = pd.read_csv(io.StringIO(table.to_csv(index=False)))
features = table.drop(columns=["id", "left"])
X_train, X_test, y_train, y_test = train_test_split(
    features, table["left"], test_size=0.25, random_state=0, stratify=table["left"]
)
columns = ColumnTransformer(
    [
        ("numbers", StandardScaler(), ["age", "balance"]),
        ("categories", OneHotEncoder(drop="first"), ["country", "gender"]),
    ]
)
train, test = columns.fit_transform(X_train), columns.transform(X_test)
weights = compute_class_weight("balanced", classes=np.array([0, 1]), y=y_train)
classifier = keras.Sequential(
    [
        keras.Input(shape=(train.shape[1],)),
        layers.Dense(6, activation="relu", name="hidden"),
        layers.Dense(6, activation="relu"),
        layers.Dense(1, activation="sigmoid", name="left"),
    ]
)
classifier.set_weights([rng.randn(*w.shape) * 0.6 for w in classifier.get_weights()])
classifier.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss="binary_crossentropy",
    metrics=["accuracy", keras.metrics.AUC(name="auc"), keras.metrics.Recall(name="recall")],
)
history = classifier.fit(
    train,
    y_train,
    batch_size=15,
    epochs=6,
    shuffle=False,
    validation_data=(test, y_test),
    class_weight={0: float(weights[0]), 1: float(weights[1])},
    verbose=0,
)
probability = classifier.predict(test, verbose=0)
joined = X_test.assign(probability=probability[:, 0].round(3), left=y_test)
by_country = joined.groupby("country")["probability"].mean()
frame = pd.DataFrame(history.history)
print(
    json.dumps(
        {
            "columns": list(frame.columns),
            "loss": frame["loss"].tolist(),
            "val_auc": frame["val_auc"].tolist(),
            "val_loss": frame["val_loss"].tolist(),
            "by_country": {str(k): float(v) for k, v in by_country.items()},
            "layers": [layer.name for layer in classifier.layers][::2],
            "probability": probability[:4].tolist(),
        }
    )
)
