"""Reference pages of settings files, made of the structs that the programs read them into."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import inspect as types

if TYPE_CHECKING:
    from collections.abc import Iterator


class Key(NamedTuple):
    """One key of a table."""

    name: str
    value: str
    """What may stand there, in words."""
    default: str
    text: str
    inner: tuple[types.StructType, ...]
    """The tables that stand there instead of a value."""
    number: bool


class Table(NamedTuple):
    """One table of a file."""

    path: str
    """How its header is written, e.g. ``[mqtt]`` or ``[[zones]]``; empty: the top of the file."""
    text: str
    keys: list[Key]


def tables(kind: type[msgspec.Struct]) -> Iterator[Table]:
    """Yield every table of a file, in the order of its keys."""
    info = types.type_info(kind)
    assert isinstance(info, types.StructType)
    yield from _tables(info, "", "", repeated=False)


def page(title: str, intro: str, kind: type[msgspec.Struct]) -> str:
    """Return the whole page of a settings file."""
    parts = [f"# {title}", "", wrapped(intro), ""]
    for table in tables(kind):
        if table.path:
            parts += [f"## `{table.path}`", "", wrapped(table.text), ""]
        parts += ["| key | value | default | what it is |", "|---|---|---|---|"]
        parts += [f"| `{key.name}` | {key.value} | {key.default} | {_cell(key.text)} |" for key in table.keys]
        parts.append("")
    return "\n".join(parts)


def wrapped(text: str) -> str:
    """Return a paragraph in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _tables(info: types.StructType, path: str, tag: str, *, repeated: bool) -> Iterator[Table]:
    keys = _keys(info)
    if info.tag is not None:
        keys.insert(
            0, Key(str(info.tag_field), f"`{json.dumps(info.tag)}`", "", "Which source it is.", (), number=False)
        )
    header = ("[[{}]]" if repeated else "[{}]").format(path) if path else ""
    yield Table(f"{header}{tag}", _prose(inspect.getdoc(info.cls) or ""), keys)
    for key, field in zip(keys[info.tag is not None :], info.fields, strict=True):
        for inner in key.inner:
            below = f"{path}.{key.name}" if path else key.name
            named = f" {inner.tag}" if inner.tag is not None else ""
            if isinstance(_bare(field.type), types.DictType):
                below = f"{below}.NAME"
            yield from _tables(inner, below, named, repeated=_is_list(field.type))


def _keys(info: types.StructType) -> list[Key]:
    said = _docstrings(info.cls)
    found = []
    for field in info.fields:
        inner = tuple(_structs(field.type))
        text = said.get(field.name, "") or ("" if not inner else _prose(inspect.getdoc(inner[0].cls) or ""))
        if len(inner) > 1 and field.name not in said:
            text = f"One of {len(inner)} kinds; each has a section below."
        found.append(
            Key(field.encode_name, _value(field.type), _default(field), _prose(text), inner, number=_number(field.type))
        )
    return found


def _docstrings(cls: type) -> dict[str, str]:
    """Return what stands below each attribute of a struct and of those it inherits from."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if owner in (object, msgspec.Struct) or not issubclass(owner, msgspec.Struct):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for line, after in zip(definition.body, definition.body[1:], strict=False):
            match line, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                    found[name] = text
    return found


def _value(kind: types.Type) -> str:  # noqa: PLR0911  (a table of kinds)
    """Say in words what may stand there."""
    kind = _bare(kind)
    match kind:
        case types.StructType() | types.UnionType():
            return "table"
        case types.ListType() | types.VarTupleType():
            return "tables" if list(_structs(kind)) else f"list of {_value(kind.item_type)}"
        case types.DictType():
            return "tables" if list(_structs(kind)) else f"table of {_value(kind.value_type)}"
        case types.BoolType():
            return "`true` or `false`"
        case types.IntType():
            return f"whole number{_range(kind)}"
        case types.FloatType():
            return f"number{_range(kind)}"
        case types.DateTimeType():
            return "date and time"
        case types.LiteralType():
            return ", ".join(f"`{json.dumps(value)}`" for value in kind.values)
        case types.EnumType():
            return ", ".join(f"`{json.dumps(member.value)}`" for member in kind.cls)
    return "text"


def _range(kind: types.IntType | types.FloatType) -> str:
    low, high = (kind.ge if kind.ge is not None else kind.gt), (kind.le if kind.le is not None else kind.lt)
    least = None if low is None else f"{'above ' if kind.ge is None else ''}{low:,.10g}"
    if high is None:
        return "" if least is None else f", {least}{'' if kind.ge is None else ' or more'}"
    return f", up to {high:,.10g}" if least is None else f", {least} to {high:,.10g}"


def _default(field: types.Field) -> str:
    if field.required:
        return "**needed**"
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
        if isinstance(default, str):  # depends on where it runs: its text says on what
            return ""
    if default is None or isinstance(default, msgspec.Struct) or default in ("", [], {}, ()):
        return ""
    return f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _bare(kind: types.Type) -> types.Type:
    """Leave ``None`` out: a key that may be missing is of the type that it has when it is there."""
    if isinstance(kind, types.UnionType):
        rest = [one for one in kind.types if not isinstance(one, types.NoneType)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _structs(kind: types.Type) -> Iterator[types.StructType]:
    match kind:
        case types.StructType():
            yield kind
        case types.UnionType():
            for one in kind.types:
                yield from _structs(one)
        case types.ListType() | types.VarTupleType():
            yield from _structs(kind.item_type)
        case types.DictType():
            yield from _structs(kind.value_type)


def _is_list(kind: types.Type) -> bool:
    return isinstance(_bare(kind), types.ListType | types.VarTupleType)


def _number(kind: types.Type) -> bool:
    return isinstance(_bare(kind), types.IntType | types.FloatType)


def _prose(text: str) -> str:
    """Turn a docstring into Markdown, in one paragraph."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](../\1)", text)
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
