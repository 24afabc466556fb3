"""The page: from the templates in `templates` to HTML. All values passed to a template
are escaped, except figures, which are HTML already."""

from __future__ import annotations

import functools
import shlex
from typing import TYPE_CHECKING, Any

from kurve.assessment import number

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: Any) -> Markup:
    """The template rendered with these values."""
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(values))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kurve.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["shell_quoted"] = shlex.quote
    environment.filters["python"] = repr
    environment.globals["zip"] = zip
    return environment
