"""Imports point down: each module may import its own floor and those below it.

The floors are those of the architecture, the lowest first. What counts is where an
import stands: at import time it decides the order in which modules load; inside a
function it lets a low object offer what a high room does (`model.diagnose`); under
TYPE_CHECKING it is a hint for type checkers and never runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import kurve

FLOORS = (
    ("_core",),
    ("core", "errors", "config"),
    ("ops",),
    ("plan",),
    ("formulas",),
    ("engines",),
    ("gradients",),
    (
        "layers",
        "losses",
        "metrics",
        "optimizers",
        "activations",
        "initializers",
        "regularizers",
        "constraints",
        "callbacks",
        "utils",
        "preprocessing",
        "random",
        "backend",
        "legacy",
    ),
    ("training",),
    ("models", "saving", "distribution"),
    ("exchange",),
    ("solvers",),
    (
        "assessment",
        "inspection",
        "diagnosis",
        "plots",
        "report",
        "tables",
        "datasets",
        "applications",
    ),
    ("estimators",),
    ("kurve",),  # the package itself: its public names, its version
    ("serving",),
    ("as_keras",),
    ("cli", "__main__"),
)

UPWARDS = {
    ("kurve.exchange.c_heads", "kurve.estimators.defaults"): "QUANTILES",
    ("kurve.exchange.onnx_model", "kurve.estimators.defaults"): "QUANTILES",
    ("kurve.exchange.c_preamble", "kurve"): "__version__",
    ("kurve.exchange.onnx_model", "kurve"): "__version__",
    ("kurve.exchange.c_cells", "kurve.tables.numerals"): "how numbers are written",
    ("kurve.exchange.c_dates", "kurve.tables.dates"): "how dates are written",
    ("kurve.exchange.c_tables", "kurve.estimators.frames"): "tables to test with",
    ("kurve.exchange.c_tables", "kurve.estimators.kinds"): "kinds of columns",
    ("kurve.exchange.c_tables", "kurve.tables.dates"): "how dates are written",
    ("kurve.exchange.c_tables", "kurve.tables.numerals"): "how numbers are written",
    ("kurve.exchange.onnx_tables", "kurve.estimators.kinds"): "kinds of columns",
    ("kurve.exchange.onnx_tables", "kurve.tables.dates"): "how dates are written",
    ("kurve.exchange.tables", "kurve.estimators.columns"): "the columns of a table",
    ("kurve.exchange.tables", "kurve.estimators.frames"): "tables to test with",
    ("kurve.exchange.tables", "kurve.tables.dates"): "how dates are written",
    ("kurve.exchange.tables", "kurve.tables.numerals"): "how numbers are written",
    ("kurve.tables.roles", "kurve.estimators.kinds"): "kinds of columns",
}
"""Arrows upwards at import time that are still there, and what they are for."""

FACADES = {
    ("kurve.formulas.alignments", "kurve.engines.reference.ctc"): "ops.ctc_loss",
    ("kurve.formulas.images", "kurve.layers"): "ops.image.resize",
    ("kurve.formulas.nn", "kurve.layers"): "ops.conv and ops.max_pool",
    ("kurve.layers.wrapping", "kurve.models.config_reader"): "a model in a layer",
    ("kurve.layers.wrapping", "kurve.models.configs"): "a model in a layer",
    ("kurve.core.entries", "kurve.legacy.arguments"): "old arguments",
    ("kurve.core.later", "kurve.legacy.names"): "old names",
    ("kurve.core.registration", "kurve.exchange.keras_objects"): "plain data",
    ("kurve.legacy.sessions", "kurve.models"): "K.function",
    ("kurve.legacy.scikit_learn", "kurve.models"): "arguments of fit",
    ("kurve.models.facade", "kurve.diagnosis"): "Sequential.diagnose",
    ("kurve.models.facade", "kurve.exchange.export"): "Sequential.export",
    ("kurve.models.facade", "kurve.exchange.keras_compiling"): "compile_from_config",
    ("kurve.models.facade", "kurve.exchange.keras_training"): "get_compile_config",
    ("kurve.models.ensembles", "kurve.exchange.export"): "Ensemble.export",
    ("kurve.models.files", "kurve.exchange.keras_files"): "load_model of Keras's files",
    ("kurve.models.files", "kurve.exchange.keras_graphs"): "model_from_json of Keras",
    ("kurve.ops", "kurve.formulas.public"): "the functions of kurve.ops",
    ("kurve.ops", "kurve.gradients.directional"): "ops.jvp",
    ("kurve.ops", "kurve.gradients.inputs"): "ops.grad and its kin",
    ("kurve.ops", "kurve.gradients.own"): "ops.custom_gradient",
    ("kurve.models.files", "kurve.exchange.sklearn_networks"): "from_sklearn",
    ("kurve.models.learning_rates", "kurve.plots"): "LearningRateSweep.plot",
    ("kurve.exchange.exported", "kurve.estimators"): "export of estimators",
    ("kurve.exchange.exported", "kurve.estimators.defaults"): "QUANTILES",
    ("kurve.exchange.exported", "kurve.estimators.errors"): "not fitted",
    ("kurve.exchange.exported", "kurve.estimators.scaling"): "tails of scaled inputs",
    (
        "kurve.inspection.predictions",
        "kurve.estimators.classifier",
    ): "what a model can do",
    (
        "kurve.inspection.predictions",
        "kurve.estimators.regressor",
    ): "what a model can do",
    (
        "kurve.inspection.predictions",
        "kurve.estimators.base",
    ): "what a model reads",
    ("kurve.report.details", "kurve"): "__version__",
}
"""Arrows upwards inside functions: what a low object offers for a high room."""

INNER = {
    ("kurve.plan.operations", "kurve.plan"): "the body of a loop is a plan",
    ("kurve.formulas.operators", "kurve.formulas.functions"): "x + y calls add(x, y)",
    ("kurve.activations", "kurve.layers.core"): "an activation of a symbolic tensor",
    ("kurve.models.model", "kurve.models.cloning"): "Model.clone",
    ("kurve.models.model", "kurve.models.config_reader"): "Model.from_config",
    ("kurve.models.sequential", "kurve.models.config_reader"): "from_config",
    ("kurve.models.facade", "kurve.models.files"): "Model.save",
    (
        "kurve.exchange.keras_models",
        "kurve.exchange.keras_graphs",
    ): "a model in a layer",
    (
        "kurve.exchange.keras_own",
        "kurve.exchange.keras_entries",
    ): "layers of a layer",
    ("kurve.exchange.keras_own", "kurve.exchange.keras_parts"): "its activations",
    ("kurve.estimators.base", "kurve.estimators.files"): "Estimator.save",
    ("kurve.estimators.fitting", "kurve.estimators.files"): "warm starts",
}
"""Arrows inside functions that close a circle within a floor, because two things are
made of each other or a method offers what a higher module does."""

SOURCE = Path(kurve.__file__).parent
MODULES = {
    ".".join(("kurve", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in SOURCE.rglob("*.py")
}
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}

Arrows = set[tuple[str, str]]


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The modules of this package that an import statement names."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            name = alias.name
        else:
            assert node.level == 0, "imports are absolute"
            name = f"{node.module}.{alias.name}"
            if name not in MODULES and name != "kurve._core":
                name = str(node.module)
        if name.split(".")[0] == "kurve":
            yield name


def arrows(module: str) -> tuple[Arrows, Arrows, Arrows]:
    """What a module imports: at import time, inside functions, for type checkers."""
    at_import, late, hints = set[str](), set[str](), set[str]()

    def visit(node: ast.AST, found: set[str]) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(imported(node))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, hints)
            for child in node.orelse:
                visit(child, found)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.iter_child_nodes(node):
                visit(child, late if inside else found)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_import)
    one, two, three = (
        {(module, name) for name in names} for names in (at_import, late, hints)
    )
    return one, two, three


AT_IMPORT, LATE, HINTS = (
    set().union(*kind) for kind in zip(*map(arrows, MODULES), strict=True)
)


def upwards(found: Arrows) -> Arrows:
    return {(a, b) for a, b in found if FLOOR[room(b)] > FLOOR[room(a)]}


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} | {"_core"} == set(FLOOR)


def test_imports_point_down() -> None:
    assert upwards(AT_IMPORT) == set(UPWARDS)


def test_imports_inside_functions_point_down_but_for_facades() -> None:
    assert upwards(LATE) - set(UPWARDS) == set(FACADES)


def circle_in(found: Arrows) -> str:
    """Modules that import each other, if there are any."""
    graph: dict[str, set[str]] = {}
    for module, name in found:
        graph.setdefault(module, set()).add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def test_modules_import_in_no_circle() -> None:
    assert {"kurve.engines", "kurve._core"} <= {name for _, name in AT_IMPORT}
    assert circle_in(AT_IMPORT) == ""


def test_a_circle_is_found() -> None:
    assert circle_in({("a", "b"), ("b", "c")}) == ""
    assert circle_in({("a", "b"), ("b", "c"), ("c", "b")}).count("->") == 2


def test_imports_inside_functions_make_no_circle_either() -> None:
    """But for facades, and for the few arrows of INNER, which are all needed."""
    known = {(a, b) for a, b in AT_IMPORT | LATE if b in MODULES}
    known -= FACADES.keys() | UPWARDS.keys()
    assert circle_in(known - INNER.keys()) == ""
    for arrow in INNER:
        assert circle_in(known - (INNER.keys() - {arrow})), arrow


PRIVATE = {
    ("kurve.training.written", "_keras_mask"): "Keras's name",
    ("kurve.layers.written", "_keras_mask"): "Keras's name",
    ("kurve.core.inside", "_network"): "the one way to the network of a model",
    (
        "kurve.core.locks",
        "_shared_variables",
    ): "of a protocol: only some models have it",
    ("kurve.formulas.calls", "_elementwise"): "of symbols of other rooms' formulas",
    ("kurve.formulas.tensor", "_fields"): "of Python's named tuples",
    ("kurve.layers.base", "_symbolic"): "a stack is asked for its graph",
    ("kurve.layers.calling", "_keras_mask"): "Keras's name on arrays",
    ("kurve.layers.tracing", "_model"): "the model of a layer read from a file",
    ("kurve.training.checkpoints.custom", "_totals"): "what a metric has counted",
    (
        "kurve.training.checkpoints.custom",
        "_variables",
    ): "the same of the user's metrics",
    ("kurve.models.cloning", "_build"): "layers of a snapshot",
}
"""Underscored members that another room reads, and why."""


def underscored(tree: ast.AST) -> tuple[set[str], set[str]]:
    """The underscored names that a module defines, and those that it reads of objects
    other than `self`, `cls` and `super()`."""
    defined, read = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()"):
                read.add(node.attr)
            elif isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and str(node.module)[:6] == "kurve.":
            read |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            name = node.args[1]
            asked = ast.unparse(node.func) in ("getattr", "hasattr", "setattr")
            if asked and isinstance(name, ast.Constant):
                read.add(str(name.value))
    ours = re.compile(r"_[a-z]\w*").fullmatch
    return {n for n in defined if ours(n)}, {n for n in read if ours(n)}


def test_rooms_leave_each_others_private_members_alone() -> None:
    found, homes = {}, dict[str, set[str]]()
    for module, path in MODULES.items():
        defined, found[module] = underscored(ast.parse(path.read_text("utf-8")))
        for name in defined:
            homes.setdefault(name, set()).add(room(module))
    across = {
        (module, name)
        for module, names in found.items()
        for name in names
        if homes.get(name) and room(module) not in homes[name]
    }
    assert across == set(PRIVATE)


def test_lists_are_broken_by_the_formatter() -> None:
    """No starred tuples within a display, and no `# fmt: skip`."""
    for path in MODULES.values():
        text = path.read_text(encoding="utf-8")
        assert "fmt: skip" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Starred):
                assert not isinstance(node.value, ast.Tuple), (path, node.lineno)


MAX_LINES = 500


def test_files_can_be_read_at_a_sitting() -> None:
    """Those of the package, wherever it is installed, and those of the engine."""
    cpp = Path(__file__).parents[2] / "cpp"
    paths = MODULES | {
        str(p): p for kind in ("cpp", "h") for p in cpp.rglob(f"*.{kind}")
    }
    long = {
        name
        for name, path in paths.items()
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES
    }
    assert len(paths) - len(MODULES) > 100
    assert len(paths) > 600
    assert long == set()


def test_an_import_is_found_wherever_it_stands() -> None:
    """The walk itself: one known arrow of each kind."""
    assert ("kurve.engines.native", "kurve._core") in AT_IMPORT
    assert ("kurve.models.facade", "kurve.diagnosis") in LATE
    assert ("kurve.models.facade", "kurve.diagnosis.report") in HINTS
