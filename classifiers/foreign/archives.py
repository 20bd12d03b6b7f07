"""Reads program files, which are zip archives, without running their contents.

`torch.export.load` trusts its file: it unpickles, loads shared libraries, evaluates expressions and executes code
built from names in the file (torch 2.15: export/pt2_archive/_package.py, _export/serde/serialize.py,
export/_unlift.py). A program is therefore checked here first. Torch then reads a new archive, which contains only
tensors, plain words and operators from an allow-list.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from typing import Any

import torch

from ...errors import UsageError

# Names of the members of a program, relative to the archive's own folder.
PROGRAM_MEMBERS = re.compile(
    r"archive_format|archive_version|version|byteorder|\.format_version|\.storage_alignment|\.data/\w+"
    r"|models/\w+\.json|data/sample_inputs/\w+\.pt"
    r"|data/weights/(weight_\d+|\w+_weights_config\.json|\w+\.pt)"
    r"|data/constants/(tensor_\d+|\w+_constants_config\.json|\w+\.pt)"
)
# The same for programs of torch 2.6 and 2.7, which have no folder of their own.
OLD_PROGRAM = "serialized_exported_program.json"
OLD_MEMBERS = re.compile(
    r"version|serialized_(exported_program|state_dict|constants)\.json"
    r"|serialized_(state_dict|constants|example_inputs)\.pt"
)
PICKLED = ("serialized_state_dict.json", "serialized_constants.json")  # of these, despite the name
EXTRAS = ("extra/", "extra_files/")  # files that the user added to the program; they are not needed and are dropped

# The operators that a program may call. Two operators of ATen access files and are excluded.
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed)\.(?!(save|from_file)\b)\w+\.\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|torch\.sym_[a-z]+|math\.[a-z0-9]+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)

CPU = {"type": "cpu", "index": None}
PLAIN = re.compile(r"[A-Za-z0-9_.:+\-]*")
TREES = re.compile(r"builtins\.(tuple|list|dict)|collections\.OrderedDict|transformers\.modeling_outputs\.\w+")
# Names allowed in size expressions: sympy's constructors, and those of torch/utils/_sympy/functions.py.
EXPRESSIONS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Eq|Ne|Equality|Unequality|StrictLessThan|LessThan"
    r"|StrictGreaterThan|GreaterThan|And|Or|Not|FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt"
    r"|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt"
    r"|RoundToInt|RoundDecimal|ToFloat|Identity"
)
# The calls with which TorchScript, a language of its own, can write files.
SCRIPT_WRITERS = re.compile(r"\b(save|from_file|write_file|write_png|write_jpeg)\(")


def members(content: bytes, where: str) -> dict[str, bytes]:
    """Reads the files of a zip archive, by name.

    Raises:
        UsageError: the archive is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UsageError(f"{where}: the archive is damaged ({error}); export the model again") from error


def names_of(content: bytes) -> list[str]:
    """The names of the members of a zip archive, without its own folder; empty if it is not an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [_inner(name) for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def clean_program(content: bytes, where: str) -> bytes:
    """Rewrites a program of torch.export without anything that could run when torch loads it.

    A new archive is written, so that torch reads exactly what was checked here, even if the file is malformed.

    Raises:
        UsageError: it contains a pickled object, a library, an operator or a text that could run code.
    """
    kept = {}
    found = members(content, where)
    old = OLD_PROGRAM in found
    for name, data in found.items():
        inner = name if old else _inner(name)
        if inner.startswith(EXTRAS):
            continue
        if not (OLD_MEMBERS if old else PROGRAM_MEMBERS).fullmatch(inner):
            raise UsageError(
                f"{where}: contains {inner!r}, which could run code when loaded; export the model again as plain "
                "operators and tensors, with torch.export.save"
            )
        if inner.endswith(".pt") or inner in PICKLED:
            data = _on_cpu(data)
        elif inner.endswith(".json"):
            data = _clean_json(inner, data, where)
        kept[name] = data
    return _packed(kept)


def clean_script(content: bytes, where: str) -> bytes:
    """Rewrites a TorchScript archive after checking that its code does not write files.

    Raises:
        UsageError: it contains such a call.
    """
    found = members(content, where)
    for name, data in found.items():
        call = SCRIPT_WRITERS.search(data.decode("utf-8", "replace")) if name.endswith(".py") else None
        if call:
            raise UsageError(
                f"{where}: its code calls {call[1]!r}, which accesses files; export the model with torch.export.save"
            )
    return _packed(found)


def _packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _inner(name: str) -> str:
    """The name of a member relative to the folder in which torch puts all members."""
    return name.partition("/")[2] or name


def _on_cpu(data: bytes) -> bytes:
    """Stored tensors, on the CPU where they were on an accelerator; torch's own loading does not ask where to."""
    if b"cuda" not in data and b"mps" not in data:
        return data
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # torch.export.load reads the same, and says what is wrong
        return data
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _clean_json(inner: str, data: bytes, where: str) -> bytes:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: {inner} is damaged ({error}); export the model again") from error
    if isinstance(parsed, dict) and "graph_module" in parsed:
        parsed["guards_code"] = []  # Python code that checks the input, which torch executes; cfx has its own checks
    try:
        _check(parsed)
    except (LookupError, TypeError, RecursionError) as error:
        raise UsageError(f"{where}: {inner} is damaged ({error!r}); export the model again") from error
    except ValueError as error:
        raise UsageError(f"{where}: {error}, which could run code when loaded; export the model again") from error
    return json.dumps(parsed).encode()


def _check(value: Any, key: str = "") -> None:
    """Replaces devices by the CPU, and raises ValueError on the first text that could do harm.

    That is any text that is neither a plain word nor known to be harmless.
    """
    if isinstance(value, dict):
        if "target" in value and {"inputs", "outputs", "metadata"} & value.keys():  # a call
            value["metadata"] = {}  # source locations: free text, which torch writes into code
            if not isinstance(value["target"], str) or not OPERATORS.fullmatch(value["target"]):
                raise ValueError(f"it calls {_shown(value['target'])}")
        if value.keys() == {"type", "index"}:  # the device on which the program was made, which may not be here
            value.update(CPU)
        for name, inner in value.items():
            if not PLAIN.fullmatch(name):
                raise ValueError(f"it uses the name {_shown(name)}")
            _check(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, key)
    elif isinstance(value, str):
        if key == "expr_str":
            _check_expression(value)
        elif key in ("in_spec", "out_spec") and value:
            _check_tree(json.loads(value)[1])
        elif key not in ("as_string", "as_strings") and not PLAIN.fullmatch(value):  # torch only quotes those
            raise ValueError(f"it uses the name {_shown(value)}")


def _check_tree(tree: Any) -> None:
    """Raises ValueError unless arguments are nested tuples, lists and dicts with plain keys."""
    kind, context = tree["type"], tree["context"]
    if kind is not None and not TREES.fullmatch(kind):
        raise ValueError(f"its arguments are a {_shown(kind)}")
    keys = json.loads(context) if context else None
    if not (keys is None or (isinstance(keys, list) and all(isinstance(k, str) and PLAIN.fullmatch(k) for k in keys))):
        raise ValueError(f"its arguments are named {_shown(context)}")
    for child in tree["children_spec"]:
        _check_tree(child)


def _check_expression(text: str) -> None:
    """A size such as `Mul(Integer(2), Symbol('s0', integer=True))`, which sympy reads with eval."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"it has the size {_shown(text)}") from error
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if node in called:
            fine = isinstance(node, ast.Name) and EXPRESSIONS.fullmatch(node.id) is not None
        elif isinstance(node, ast.Constant):
            fine = not isinstance(node.value, str) or (node.value.isidentifier() and "__" not in node.value)
        elif isinstance(node, ast.Name):
            fine = "__" not in node.id
        else:
            fine = isinstance(
                node,
                ast.Expression | ast.Call | ast.keyword | ast.BinOp | ast.UnaryOp | ast.Compare | ast.operator
                | ast.unaryop | ast.cmpop | ast.expr_context,
            )  # fmt: skip
        if not fine:
            raise ValueError(f"it has the size {_shown(text)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
