"""Files of models."""

from kurve.saving.container import read as read
from kurve.saving.container import read_header as read_header
from kurve.saving.container import verify as verify
from kurve.saving.errors import ModelFileError as ModelFileError
from kurve.saving.model import checked_ending as checked_ending
from kurve.saving.model import load_model as load_model
from kurve.saving.model import load_weights as load_weights
from kurve.saving.model import save_model as save_model
from kurve.saving.model import save_weights as save_weights
from kurve.saving.writing import write as write
