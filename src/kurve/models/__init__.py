"""Models: graphs and stacks of layers, and how to load or create them."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from kurve.core.later import Later as _Later
from kurve.models.model import Model as Model
from kurve.models.sequential import Sequential as Sequential

if _TYPE_CHECKING:
    from kurve.models.cloning import clone_model as clone_model
    from kurve.models.files import from_sklearn as from_sklearn
    from kurve.models.files import load_model as load_model
    from kurve.models.files import model_from_json as model_from_json
    from kurve.models.files import save_model as save_model

__getattr__ = _Later(
    __name__,
    {
        "cloning": "clone_model",
        "files": "from_sklearn load_model model_from_json save_model",
    },
)
__dir__ = __getattr__.dir
