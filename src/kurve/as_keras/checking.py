"""Find what a program needs from Keras and TensorFlow that Kurve lacks, using its
syntax tree: nothing is run."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kurve.as_keras import paths
from kurve.as_keras.importing import Answer, answering
from kurve.as_keras.programs import read
from kurve.as_keras.reasons import reason, shown
from kurve.errors import known_arguments, unknown_argument

IDENTIFIERS = {
    "activation": "activations",
    "bias_initializer": "initializers",
    "embeddings_initializer": "initializers",
    "kernel_initializer": "initializers",
    "kernel_regularizer": "regularizers",
    "loss": "losses",
    "optimizer": "optimizers",
    "recurrent_activation": "activations",
}
"""Arguments whose string value names something in a module."""


@dataclass(frozen=True)
class Finding:
    """A missing name.

    place: "line 3"; "cell 2, line 3" in a notebook; prefixed with the name in another
        file
    name:  the name in the program, with today's path
    why:   the reason, and what to use instead
    """

    place: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.name}: {self.why}"


def check(path: str) -> list[Finding]:
    """The missing names of a program, ordered by line; its own imported modules are
    checked too.

    Args:
        path: path of a program; ends in .ipynb for a notebook.

    Raises:
        OSError: file not found.
        ValueError: not a program.
    """
    with answering(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old spellings, which work
        return _Program(path, os.path.dirname(os.path.abspath(path))).findings()


@dataclass(frozen=True)
class Made:
    """A value: an instance of the class."""

    cls: type


class _Program:
    """Reads the files of a program.

    Args:
        path: path of the first file.
        folder: folder of its own modules.
    """

    def __init__(self, path: str, folder: str) -> None:
        self.folder, self.seen = folder, {os.path.abspath(path)}
        self.waiting = [(path, "")]

    def findings(self) -> list[Finding]:
        found: list[Finding] = []
        while self.waiting:
            path, prefix = self.waiting.pop(0)
            names: dict[str, Any] = {}
            for cell in read(path):
                place = _places(prefix, cell.place)
                try:
                    tree = ast.parse(cell.text, path)
                except SyntaxError as error:
                    where = place(error.lineno or 1)
                    found.append(Finding(where, "syntax", f"no Python 3 ({error.msg})"))
                    continue
                reader = _Reader(self, place, names)
                reader.visit(tree)
                found += reader.found
        return list(dict.fromkeys(found))

    def module(self, name: str) -> bool:
        """Whether the program has a module of this name, which is then checked too."""
        base = os.path.join(self.folder, *name.split("."))
        for path in (f"{base}.py", os.path.join(base, "__init__.py")):
            if os.path.isfile(path):
                if path not in self.seen:
                    self.seen.add(path)
                    shown_path = os.path.relpath(path, self.folder)
                    self.waiting.append((path, f"{shown_path}, "))
                return True
        return os.path.isdir(base)


def _places(prefix: str, place: Callable[[int], str]) -> Callable[[int], str]:
    return lambda line: prefix + place(line)


class _Reader(ast.NodeVisitor):
    """Reads the statements of a file in order.

    names: what each name refers to, where known: a module, class or function of Keras,
        or a `Made` value
    found: what is missing
    """

    def __init__(
        self, program: _Program, place: Callable[[int], str], names: dict[str, Any]
    ) -> None:
        self.program, self.place, self.names = program, place, names
        self.found: list[Finding] = []
        self.known: dict[int, Any] = {}  # values of resolved nodes

    # ---------------------------------------------------------------- imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            root = alias.name.partition(".")[0]
            bound = alias.asname or root
            if root not in paths.ROOTS:
                self._other(node, alias.name)
                self.names.pop(bound, None)
                continue
            module = self._imported(node, alias.name)
            self._bind(bound, module if alias.asname else sys.modules.get(root))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        path = node.module or ""
        if node.level or path.partition(".")[0] not in paths.ROOTS:
            if not node.level:
                self._other(node, path)
            for alias in node.names:
                self.names.pop(alias.asname or alias.name, None)
            return
        module = self._imported(node, path)
        if module is None:
            return
        for alias in node.names:
            if alias.name == "*":
                self.names.update({n: getattr(module, n) for n in dir(module)})
            else:
                value = self._attribute(node, module, alias.name)
                self._bind(alias.asname or alias.name, value)

    def _imported(self, node: ast.stmt, path: str) -> Any:
        try:
            return importlib.import_module(path)
        except ImportError as error:
            self._add(node, path, error)
            return None

    def _other(self, node: ast.stmt, path: str) -> None:
        """Any other import: one of the program's modules, or a package."""
        root = path.partition(".")[0]
        if self.program.module(path) or self.program.module(root):
            return
        try:
            there = root in sys.modules or importlib.util.find_spec(root) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            place = self.place(node.lineno)
            self.found.append(Finding(place, root, "this package is not installed"))

    def visit_Try(self, node: ast.Try) -> None:
        """If a program handles a failing import, its fallback counts."""
        imports = any(isinstance(n, ast.Import | ast.ImportFrom) for n in node.body)
        handlers = [h for h in node.handlers if _catches_imports(h)]
        if not (imports and handlers):
            self.generic_visit(node)
            return
        before = len(self.found)
        for statement in node.body:
            self.visit(statement)
        failed = len(self.found) > before
        del self.found[before:]
        for part in (*(handlers if failed else node.orelse), *node.finalbody):
            self.visit(part)

    # ---------------------------------------------------------------- names

    def _bind(self, name: str, value: Any) -> None:
        if value is None:
            self.names.pop(name, None)
        else:
            self.names[name] = value

    @contextmanager
    def _inside(self, *hidden: str) -> Iterator[None]:
        """Names in a function are local."""
        before = dict(self.names)
        for name in hidden:
            self.names.pop(name, None)
        yield
        self.names.clear()
        self.names.update(before)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self.visit(part)
        self.names.pop(node.name, None)
        with self._inside(*_parameters(node.args)):
            for statement in node.body:
                self.visit(statement)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        with self._inside(*_parameters(node.args)):
            self.visit(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        self.names.pop(node.name, None)
        with self._inside():
            for statement in node.body:
                self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self._value(node.value)
        for target in node.targets:
            self._assign(target, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, self._value(node.value))

    def visit_For(self, node: ast.For | ast.comprehension) -> None:
        self.visit(node.iter)
        self._assign(node.target, None)
        parts = node.ifs if isinstance(node, ast.comprehension) else node.body
        for part in (*parts, *getattr(node, "orelse", ())):
            self.visit(part)

    visit_comprehension = visit_For

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            value = self._value(item.context_expr)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, value)
        for statement in node.body:
            self.visit(statement)

    def _comprehended(self, node: Any) -> None:
        with self._inside():
            for generator in node.generators:
                self.visit(generator)
            for part in ("key", "value", "elt"):
                if hasattr(node, part):
                    self.visit(getattr(node, part))

    visit_ListComp = visit_SetComp = visit_GeneratorExp = _comprehended
    visit_DictComp = _comprehended

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name | ast.Attribute):
            self._bind(ast.unparse(target), value)
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self._assign(part, None)
        else:
            self.visit(target)

    # ---------------------------------------------------------------- expressions

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._value(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._value(node)

    def _value(self, node: ast.expr) -> Any:
        """The value of an expression; None if unknown."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            stored = self.names.get(ast.unparse(node))
            if stored is not None:
                return stored
            return self._attribute(node, self._value(node.value), node.attr)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.IfExp):
            self.visit(node.test)
            values = [self._value(node.body), self._value(node.orelse)]
            return values[0] if values[0] == values[1] else None
        self.visit(node) if _is_plain(node) else self.generic_visit(node)
        return None

    def _attribute(self, node: ast.stmt | ast.expr, owner: Any, name: str) -> Any:
        if isinstance(owner, Answer):
            try:
                return getattr(owner, name)
            except AttributeError as error:
                self._add(node, f"{owner.__name__}.{name}", error)
        elif isinstance(owner, Made):
            return getattr(owner.cls, name, None)
        elif isinstance(owner, type) and not name.startswith("_"):
            if not hasattr(owner, name):
                self._lacks(node, owner, name)
            return getattr(owner, name, None)
        return None

    def _call(self, node: ast.Call) -> Any:
        call = self._value(node.func)
        owner = None
        if isinstance(node.func, ast.Attribute):
            owner = self._owner(node.func)
            if (
                call is None
                and isinstance(owner, Made)
                and owner.cls.__name__ in ("Dataset", "Model", "Sequential")
                and not node.func.attr.startswith("_")
                and not hasattr(owner.cls, node.func.attr)
            ):
                self._lacks(node, owner.cls, node.func.attr)
        for part in node.args:
            self._value(part)
        for keyword in node.keywords:
            self._value(keyword.value)
            if callable(call) and keyword.arg is not None:
                self._argument(keyword.value, call, keyword.arg)
        if isinstance(call, type):
            return Made(call)
        if isinstance(call, Made):
            return None
        made = getattr(call, "__annotations__", {}).get("return")
        return Made(_dataset()) if made in ("Dataset", "Self") else None

    def _owner(self, node: ast.Attribute) -> Any:
        """The owner of a method, without reporting what is missing in it again."""
        count = len(self.found)
        owner = self._value(node.value)
        del self.found[count:]
        return owner

    def _argument(self, node: ast.expr, call: Callable[..., Any], name: str) -> None:
        where = getattr(call, "__name__", str(call))
        if not _takes(call, name):
            error = unknown_argument(call, name, where)
            self._add(node, f"{where}({name}=)", error)
        home = IDENTIFIERS.get(name)
        text = node.value if isinstance(node, ast.Constant) else None
        if home and isinstance(text, str) and (home != "losses" or where == "compile"):
            try:
                importlib.import_module(f"kurve.{home}").get(text)
            except ValueError as error:
                self._add(node, f"{name}={text!r}", error)

    def _lacks(self, node: Any, owner: type, name: str) -> None:
        if not _was(owner, name):
            known = f"a {owner.__name__} has no {name} in Kurve"
            self.found.append(
                Finding(self.place(node.lineno), f"{owner.__name__}.{name}", known)
            )

    def _add(self, node: Any, path: str, error: Exception) -> None:
        known = reason(path)
        if known is not None:
            why = f"not in Kurve ({known[0]}; try {known[1]})"
        else:
            why = f"not in Kurve ({_in_short(str(error))})"
        self.found.append(Finding(self.place(node.lineno), shown(path), why))


def _in_short(text: str) -> str:
    """An error message without its location, received value and lists of names."""
    text = re.sub(r"^\[[\w. ]+\] ", "", text)
    text = re.sub(r" Received: .*?\. (?=Try|Did|$)", " ", f"{text} ")
    text = re.sub(r" Known: .*| Try one of: .*|\. Try kurve check.*", "", text)
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:]


def _is_plain(node: ast.expr) -> bool:
    """Whether the expression has a dedicated visit method here."""
    kinds = (ast.Lambda, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
    return isinstance(node, kinds)


def _parameters(arguments: ast.arguments) -> list[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [argument.arg for argument in every]


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    caught = "" if handler.type is None else ast.unparse(handler.type)
    errors = r"ImportError|ModuleNotFoundError|AttributeError|\bException\b"
    return handler.type is None or re.search(errors, caught) is not None


def _takes(call: Callable[..., Any], name: str) -> bool:
    """Whether a class or function has, or had, an argument of this name."""
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return True
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return True
    taken = name in signature.parameters or name in known_arguments(call)
    return taken or _was(call, name)


def _was(call: Any, name: str) -> bool:
    """Whether a Keras 1 or 2 argument or attribute is supported."""
    if importlib.util.find_spec("kurve.legacy") is None:
        return False
    arguments: Any = importlib.import_module("kurve.legacy.arguments")
    names: Any = importlib.import_module("kurve.legacy.names")
    scopes = [c.__name__ for c in call.__mro__] if isinstance(call, type) else []
    scopes = scopes or [getattr(call, "__name__", "")]
    tables = (arguments.ARGUMENTS, names.ATTRIBUTES)
    return any(name in table.get(scope, {}) for table in tables for scope in scopes)


def _dataset() -> type:
    from kurve.as_keras.tensorflow.data import Dataset

    return Dataset
