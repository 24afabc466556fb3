"""Files of models."""

from kurve.core.container.errors import ModelFileError as ModelFileError
from kurve.core.container.reading import read as read
from kurve.core.container.reading import read_header as read_header
from kurve.core.container.reading import verify as verify
from kurve.core.container.writing import write as write
from kurve.models.saving import checked_ending as checked_ending
from kurve.models.saving import load_model as load_model
from kurve.models.saving import load_weights as load_weights
from kurve.models.saving import save_model as save_model
from kurve.models.saving import save_weights as save_weights
