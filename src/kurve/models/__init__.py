"""Models: graphs and stacks of layers, and where they come from."""

from kurve.errors import absent as _absent
from kurve.models.cloning import clone_model as clone_model
from kurve.models.files import from_sklearn as from_sklearn
from kurve.models.files import load_model as load_model
from kurve.models.files import model_from_json as model_from_json
from kurve.models.files import save_model as save_model
from kurve.models.model import Model as Model
from kurve.models.sequential import Sequential as Sequential

__getattr__ = _absent(__name__)
