"""Saving and loading of models, with Keras's names."""

from kurve.core.container.errors import ModelFileError as ModelFileError
from kurve.core.container.reading import read as read
from kurve.core.container.reading import read_header as read_header
from kurve.core.container.reading import verify as verify
from kurve.core.container.writing import write as write
from kurve.core.registration import CustomObjectScope as CustomObjectScope
from kurve.core.registration import custom_object_scope as custom_object_scope
from kurve.core.registration import (
    deserialize_keras_object as deserialize_keras_object,
)
from kurve.core.registration import get_custom_objects as get_custom_objects
from kurve.core.registration import get_registered_name as get_registered_name
from kurve.core.registration import get_registered_object as get_registered_object
from kurve.core.registration import (
    register_keras_serializable as register_keras_serializable,
)
from kurve.core.registration import serialize_keras_object as serialize_keras_object
from kurve.models.files import load_model as load_model
from kurve.models.files import save_model as save_model
from kurve.models.saving import checked_ending as checked_ending
from kurve.models.saving import load_weights as load_weights
from kurve.models.saving import save_weights as save_weights
