"""Writes files as other versions of Keras wrote them, one archive for each version.

    PYTHON tests/golden/keras/make_versions.py NAME

NAME           PYTHON  packages
keras-2.3.1    3.7     tensorflow==1.15.5 keras==2.3.1 h5py==2.10.0 protobuf==3.20.3
tf-1.15        3.7     the same; its own tf.keras
tf-2.8         3.10    tensorflow-cpu==2.8.4 protobuf==3.19.6 numpy==1.23.5
tf-2.12        3.11    tensorflow-cpu==2.12.1
tf-2.15        3.11    tensorflow-cpu==2.15.1
keras-3.0.5    3.11    tensorflow-cpu==2.16.2 keras==3.0.5
keras-3.15.1   3.11    keras==3.15.1 torch==2.13.0, with KERAS_BACKEND=torch

versions/NAME.tar.xz holds
    layers-WHAT.h5, .keras, .weights.h5       one of each layer of a kind
    optimizer-WHAT.h5, .keras                 after 3 steps of an optimizer
    loss-WHAT.h5, .keras                      losses and metrics as texts and objects
    expected.npz                              what that Keras made of each of them
The script runs on Python 3.7 to 3.11 and so uses nothing newer.
"""

import os
import sys
import tarfile
import tempfile
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = sys.argv[1]
if NAME.startswith("keras-"):
    import keras
else:
    from tensorflow import keras
if NAME == "tf-1.15":
    import tensorflow as tf

    tf.logging.set_verbosity(tf.logging.ERROR)

VERSION = tuple(int(part) for part in NAME.split("-")[1].split("."))
KERAS = VERSION if NAME.startswith("keras-") else (2, VERSION[1])
HAS_KERAS_FORMAT = NAME.startswith("keras-3") or NAME in ("tf-2.12", "tf-2.15")
FORMAT = "keras_v3" if NAME == "tf-2.12" else "keras"
L = keras.layers
ROWS = 16


def random(seed, *shape):
    return np.random.RandomState(seed).normal(size=shape).astype("float32")


X = random(1, ROWS, 3)
Y = (X[:, :1] * X[:, 1:2] + X[:, 2:]).astype("float32")


def layer(name, *args, **kwargs):
    """The layer, or None where this version has none of that name."""
    found = getattr(L, name, None)
    if found is None:
        experimental = getattr(L, "experimental", None)
        preprocessing = getattr(experimental, "preprocessing", None)
        found = getattr(preprocessing, name, None)
    return None if found is None else found(*args, **kwargs)


def stack(shape, given):
    """Sequential of those layers that there are, with weights that are not 0."""
    given = [one for one in given if one is not None]
    if KERAS < (2, 4):
        given[0].batch_input_shape = (None, *shape)
    else:
        given.insert(0, keras.Input(shape))
    model = keras.Sequential(given)
    return filled(model)


def filled(model):
    for number, one in enumerate(model.layers):
        if type(one).__name__ == "Normalization":
            continue  # Keras 3 takes over what it has adapted to in loading only
        weights = []
        for place, weight in enumerate(one.get_weights()):
            drawn = 0.3 * random(100 + 9 * number + place, *weight.shape)
            if len(weight.shape) == 1:  # a variance too
                drawn = np.abs(drawn) + 0.2
            weights.append(drawn)
        one.set_weights(weights)
    return model


def adapted():
    """Its Normalization alone knows how many features there are."""
    scaled = L.Normalization()
    scaled.adapt(X)
    return keras.Sequential([scaled, L.Dense(4, activation="tanh"), L.Dense(1)])


def deferred():
    """Nothing but `fit` says the shape of a sample."""
    return keras.Sequential([L.Dense(4, activation="tanh"), L.Dense(1)])


def functional():
    given = keras.layers.Input((3,))
    hidden = L.Dense(4, activation="tanh")(given)
    return filled(keras.models.Model(given, L.Dense(1)(hidden)))


def vectors():
    scaled = layer("Normalization")
    if scaled is not None:
        scaled.adapt(3.0 * random(7, 40, 3) + 1.0)
    bent = layer("ELU", 0.5) if KERAS >= (3, 0) else "elu"
    return [
        scaled,
        L.Dense(5, activation="relu", kernel_regularizer="l2"),
        L.BatchNormalization(momentum=0.8, epsilon=0.01),
        L.LeakyReLU(),
        L.Dropout(0.5),
        L.Dense(6, activation=bent, use_bias=False, kernel_initializer="he_normal"),
        layer("LayerNormalization"),
        L.GaussianNoise(0.1),
        L.ReLU(),
        layer("Rescaling", 0.5, offset=0.1),
        L.Reshape((2, 3)),
        L.Flatten(),
        L.Dense(4, activation="tanh", bias_regularizer=keras.regularizers.l1(0.1)),
        L.ELU(),
        L.Dense(
            3,
            kernel_initializer=keras.initializers.VarianceScaling(2.0),
            bias_initializer=keras.initializers.Constant(0.1),
        ),
        L.Activation("softplus"),
        L.Softmax(),
    ]


def sequence():
    return [
        L.Conv1D(4, 3, padding="same", activation="relu"),
        L.ZeroPadding1D(1),
        layer("SeparableConv1D", 4, 3, depth_multiplier=2, activation="tanh"),
        L.MaxPooling1D(2),
        L.UpSampling1D(2),
        layer("DepthwiseConv1D", 3, depth_multiplier=2),
        layer("Conv1DTranspose", 3, 3, strides=2),
        L.AveragePooling1D(2, padding="same"),
        L.SpatialDropout1D(0.2),
        L.BatchNormalization(),
        L.Conv1D(3, 2, dilation_rate=2),
        L.GlobalAveragePooling1D(),
    ]


def pictures():
    return [
        layer("RandomFlip", "horizontal"),
        layer("RandomTranslation", 0.1, 0.2),
        layer("RandomRotation", 0.1),
        L.Conv2D(4, 3, padding="same", activation="relu"),
        L.ZeroPadding2D(((1, 0), (0, 1))),
        L.DepthwiseConv2D(3, depth_multiplier=2, activation="tanh"),
        L.SeparableConv2D(4, 3, padding="same"),
        L.MaxPooling2D(2),
        L.UpSampling2D(2),
        L.BatchNormalization(scale=False),
        L.Conv2DTranspose(3, 3, strides=2, padding="same"),
        L.AveragePooling2D(2),
        L.SpatialDropout2D(0.2),
        L.GlobalMaxPooling2D(),
    ]


LAYERS = {
    "vectors": ((3,), vectors),
    "sequence": ((12, 2), sequence),
    "pictures": ((8, 8, 2), pictures),
}


def optimizers():
    """Each optimizer of this version, by a name of ours."""
    O = keras.optimizers  # noqa: E741
    schedules = getattr(O, "schedules", None)
    rate = "learning_rate"
    made = {
        "sgd": lambda o: o.SGD(**{rate: 0.1}),
        "momentum": lambda o: o.SGD(momentum=0.9, **{rate: 0.05}),
        "nesterov": lambda o: o.SGD(momentum=0.9, nesterov=True, **{rate: 0.05}),
        "rmsprop": lambda o: o.RMSprop(**{rate: 0.01}),
        "adagrad": lambda o: o.Adagrad(**{rate: 0.05}),
        "adam": lambda o: o.Adam(**{rate: 0.01}),
        "amsgrad": lambda o: o.Adam(amsgrad=True, clipnorm=1.0, **{rate: 0.01}),
        "adamax": lambda o: o.Adamax(**{rate: 0.01}),
        "nadam": lambda o: o.Nadam(**{rate: 0.01}),
    }
    if NAME != "keras-2.3.1":
        made["centered"] = lambda o: o.RMSprop(
            momentum=0.5, centered=True, **{rate: 0.01}
        )
    if schedules is not None and NAME != "keras-2.3.1":
        made["schedule"] = lambda o: o.Adam(
            schedules.ExponentialDecay(0.02, 5, 0.5, staircase=True)
        )
    decaying = {"decay": lambda o: o.Adam(decay=0.1, **{rate: 0.02})}
    legacy = getattr(O, "legacy", None) if KERAS < (3, 0) else None
    found = {name: lambda make=make: make(O) for name, make in made.items()}
    if hasattr(O, "AdamW"):
        found["adamw"] = lambda: O.AdamW(weight_decay=0.1, **{rate: 0.01})
    if legacy is not None and KERAS >= (2, 11):
        for name, make in {**made, **decaying}.items():
            found["legacy-" + name] = lambda make=make: make(legacy)
    elif KERAS < (2, 11):
        found["decay"] = lambda: decaying["decay"](O)
    return found


def losses():
    """Loss, metrics, activation and units of the last layer, and targets."""
    K, M = keras.losses, keras.metrics
    real = np.concatenate([Y, -Y, 0.5 * Y], axis=1)
    some = (real > 0).astype("float32")
    one = np.eye(3, dtype="float32")[np.arange(ROWS) % 3]
    numbers = np.arange(ROWS) % 3
    table = {
        "mse": ("mse", ["mae"], None, 3, real),
        "mean_absolute_error": ("mean_absolute_error", ["mse"], None, 3, real),
        "binary": ("binary_crossentropy", ["accuracy"], "sigmoid", 1, some[:, :1]),
        "categorical": ("categorical_crossentropy", ["accuracy"], "softmax", 3, one),
        "sparse": (
            "sparse_categorical_crossentropy",
            ["accuracy"],
            "softmax",
            3,
            numbers,
        ),
        "MeanSquaredError": (
            lambda: K.MeanSquaredError(),
            lambda: [M.MeanAbsoluteError(), M.RootMeanSquaredError(name="root")],
            None,
            3,
            real,
        ),
        "MeanAbsoluteError": (
            lambda: K.MeanAbsoluteError(),
            lambda: [M.MeanSquaredError()],
            None,
            3,
            real,
        ),
        "Huber": (lambda: K.Huber(2.0), lambda: [M.LogCoshError()], None, 3, 3 * real),
        "LogCosh": (lambda: K.LogCosh(), [], None, 3, real),
        "BinaryCrossentropy": (
            lambda: K.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
            lambda: [
                M.BinaryAccuracy(threshold=0.3),
                M.BinaryCrossentropy(from_logits=True),
            ],
            None,
            3,
            some,
        ),
        "CategoricalCrossentropy": (
            lambda: K.CategoricalCrossentropy(label_smoothing=0.1),
            lambda: [M.CategoricalAccuracy(), M.TopKCategoricalAccuracy(2)],
            "softmax",
            3,
            one,
        ),
        "SparseCategoricalCrossentropy": (
            lambda: K.SparseCategoricalCrossentropy(from_logits=True),
            lambda: [
                M.SparseCategoricalAccuracy(),
                M.SparseTopKCategoricalAccuracy(k=2),
            ],
            None,
            3,
            numbers,
        ),
    }
    if hasattr(M, "R2Score"):
        table["r2"] = ("mse", lambda: [M.R2Score()], None, 3, real)
    return table


WHOLE = {"functional": functional}
if KERAS >= (2, 4):
    WHOLE["deferred"] = deferred
if hasattr(L, "Normalization"):
    WHOLE["adapted"] = adapted


def small(units, activation=None):
    last = L.Dense(units, activation=activation)
    return stack((3,), [L.Dense(4, activation="tanh"), last])


def anonymous(info):
    """Without owner and time."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


class Archive:
    """What has been saved, and what is expected of it."""

    def __init__(self):
        self.folder, self.expected, self.left_out = tempfile.mkdtemp(), {}, []

    def save(self, model, name):
        # In this order: Keras 3 forgets the optimizer in writing .h5.
        endings = ["keras", "h5"] if HAS_KERAS_FORMAT else ["h5"]
        if name.startswith("layers"):
            endings.append("weights.h5")
        for ending in endings:
            path = os.path.join(self.folder, name + "." + ending)
            try:
                if ending == "weights.h5":
                    model.save_weights(path)
                elif ending == "keras" and KERAS < (3, 0):
                    model.save(path, save_format=FORMAT)
                else:
                    model.save(path)
            except (TypeError, ValueError) as error:  # 3.0.5's .h5
                self.left_out.append((name, ending, str(error)))
                os.remove(path)

    def write(self):
        np.savez(os.path.join(self.folder, "expected.npz"), **self.expected)
        place = os.path.join(HERE, "versions", NAME + ".tar.xz")
        with tarfile.open(place, "w:xz", preset=9) as archive:
            for name in sorted(os.listdir(self.folder)):
                archive.add(os.path.join(self.folder, name), name, filter=anonymous)
        print(place, os.path.getsize(place), "left out:", self.left_out)


def main():
    archive = Archive()
    for name, (shape, make) in LAYERS.items():
        model = stack(shape, make())
        model.compile("sgd", "mse")
        archive.save(model, "layers-" + name)
        x = random(5, 4, *shape)
        archive.expected["layers-" + name + "/x"] = x
        archive.expected["layers-" + name + "/predicted"] = model.predict(x, verbose=0)
    for name, make in WHOLE.items():
        model = make()
        model.compile("sgd", "mse")
        model.train_on_batch(X, Y)
        archive.save(model, "layers-" + name)
        archive.expected["layers-" + name + "/x"] = X
        archive.expected["layers-" + name + "/predicted"] = model.predict(X, verbose=0)
    for name, make in optimizers().items():
        title = "optimizer-" + name
        try:
            optimizer = make()
        except (TypeError, ValueError, AttributeError) as error:
            archive.left_out.append((name, str(error)))
            continue
        model = small(1)
        model.compile(optimizer, "mse")
        for _ in range(3):
            model.train_on_batch(X, Y)
        archive.save(model, title)
        archive.expected[title + "/predicted"] = model.predict(X, verbose=0)
        for _ in range(2):
            model.train_on_batch(X, Y)
        archive.expected[title + "/after"] = model.predict(X, verbose=0)
    for name, (loss, metrics, activation, units, targets) in losses().items():
        title = "loss-" + name
        try:
            loss = loss() if callable(loss) else loss
            metrics = metrics() if callable(metrics) else metrics
        except AttributeError as error:
            archive.left_out.append((name, str(error)))
            continue
        model = small(units, activation)
        model.compile("sgd", loss, metrics=metrics)
        model.train_on_batch(X, targets)
        archive.save(model, title)
        values = model.evaluate(X, targets, verbose=0)
        archive.expected[title + "/targets"] = targets
        archive.expected[title + "/values"] = np.ravel(values)
    archive.write()


main()
