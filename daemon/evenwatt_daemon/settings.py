"""Settings files: TOML into a typed struct, and errors that name file, key, what was found and the fix."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from evenwatt_daemon.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`(?: - at `\$\.?(?P<at>[^`]*)`)?")
_WRONG = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<at>[^`]*)`)?$", re.DOTALL)


def load_settings(kind: type[S], path: str | Path | None) -> S:
    """Read a TOML file into ``kind``; with no path, its defaults.

    Raises:
        Failure: the file is missing, is not TOML, or has a key or value that ``kind`` does not know.
    """
    if path is None:
        return _convert(kind, {}, "built-in defaults")
    text = read_document(path).decode("utf-8", errors="replace")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, a number of thousands of digits, or tables without end
        raise Failure(f"{path}: not TOML: {error}; correct that line") from None
    return _convert(kind, raw, str(path))


def read_document(path: str | Path) -> bytes:
    """Read a whole file, or raise :class:`Failure` with the reason and the fix."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise Failure(f"{path}: no such file; create it or name another one") from None
    except PermissionError:
        raise Failure(f"{path}: not readable by this user; let it read the file, or be a user who may") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


def parse_document(path: str | Path, parse: Callable[[bytes], T]) -> T:
    """Read a file and parse it; whatever is wrong with it becomes one :class:`Failure` that names the file."""
    try:
        return parse(read_document(path))
    except (ValueError, msgspec.MsgspecError) as error:
        raise Failure(f"{path}: {error}") from None


def _convert(kind: type[S], raw: object, name: str) -> S:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise Failure(f"{name}: {_explain(kind, str(error), raw)}") from None


def _explain(kind: type[msgspec.Struct], message: str, raw: object) -> str:
    unknown = _UNKNOWN.match(message)
    if unknown:
        at = unknown["at"] or ""
        known = _known_keys(kind, at)
        import difflib  # noqa: PLC0415  (200 kB that a daemon with good settings does without)

        near = difflib.get_close_matches(unknown["field"], known, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        return f"unknown key {_join(at, unknown['field'])!r}: {fix}"
    wrong = _WRONG.match(message)
    at = (wrong["at"] or "") if wrong else ""
    what = wrong["what"] if wrong else message
    choices = _choices(kind, at) if what.startswith("Invalid enum value") else []
    if choices:
        what = f"expected one of {', '.join(map(repr, choices))}"
    return f"key {at!r}: {what}{_found(raw, at)}" if at else f"{what}"


def _found(raw: object, at: str) -> str:
    for part in re.findall(r"[^.\[\]]+", at):
        if isinstance(raw, dict) and part in raw:
            raw = raw[part]
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        else:
            return ""
    return f", found {raw!r}"


def _join(at: str, field: str) -> str:
    return f"{at}.{field}" if at else field


def _known_keys(kind: type[msgspec.Struct], at: str) -> list[str]:
    """Keys of the table at a path such as ``mqtt`` or ``zones[0]`` (msgspec writes ``zones[...]``)."""
    info = _struct_inside(_type_at(kind, at))
    return [field.encode_name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def _choices(kind: type[msgspec.Struct], at: str) -> list[object]:
    """What may stand at a path where only a few words may; nothing where that is not known."""
    info = _type_at(kind, at)
    if isinstance(info, msgspec.inspect.EnumType):
        return [member.value for member in info.cls]
    return list(info.values) if isinstance(info, msgspec.inspect.LiteralType) else []


def _type_at(kind: type[msgspec.Struct], at: str) -> msgspec.inspect.Type:
    info: msgspec.inspect.Type = msgspec.inspect.type_info(kind)
    for part in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", at):
        info = _struct_inside(info)
        if isinstance(info, msgspec.inspect.StructType):
            info = next((field.type for field in info.fields if field.encode_name == part), info)
    return info


def _struct_inside(info: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return _struct_inside(info.item_type)
    if isinstance(info, msgspec.inspect.UnionType):
        structs = [t for t in info.types if isinstance(t, msgspec.inspect.StructType)]
        return structs[0] if structs else info
    return info
