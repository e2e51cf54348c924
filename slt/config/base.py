"""Strict reading of ``params.yaml`` into frozen dataclasses: an unknown or mistyped key is an error that names it."""

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from slt.errors import ConfigError

T = TypeVar("T")
PARAMS = Path("params.yaml")


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """The whole parameter file as nested dictionaries; ConfigError when it is missing or no mapping."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run stages from the root of the checkout")
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date in the month 13
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(params, dict):
        raise ConfigError(f"{path}: expected a mapping at the top, found {type(params).__name__}")
    return params


def lookup(params: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; ConfigError names the first missing part and what stands there instead."""
    value: Any = params
    for depth, part in enumerate(key.split(".")):
        if not isinstance(value, dict) or part not in value:
            parent = ".".join(key.split(".")[:depth]) or "the top level"
            names = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
            raise ConfigError(f"{PARAMS}: no key `{key}`: `{part}` is missing at {parent}, which has: {names}")
        value = value[part]
    return value


def section(cls: type[T], params: dict[str, Any], key: str) -> T:
    """The section at a dotted key as an instance of the dataclass ``cls``, every value checked."""
    return parse(cls, lookup(params, key), key)


def parse(cls: type[T], data: Any, where: str) -> T:
    """``data`` as an instance of the dataclass ``cls``; ConfigError names the key of anything that does not fit."""
    if not isinstance(data, dict):
        raise ConfigError(f"{PARAMS}: {where}: expected a mapping, found {data!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known keys: {', '.join(fields)}"
            raise ConfigError(f"{PARAMS}: unknown key `{where}.{name}`{hint}")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(data[name], hints[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{PARAMS}: missing key `{where}.{name}` ({_name(hints[name])})")
    try:
        return cls(**values)
    except ValueError as error:  # raised by a dataclass's own __post_init__ check
        raise ConfigError(f"{PARAMS}: {where}: {error}") from error


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [argument for argument in arguments if argument is not type(None)]
        if len(rest) == 1:
            return _convert(value, rest[0], where)
        for argument in rest:
            try:
                return _convert(value, argument, where)
            except ConfigError:
                continue
    elif origin is typing.Literal:
        if value in arguments and type(value) in {type(argument) for argument in arguments}:
            return value
        raise ConfigError(f"{PARAMS}: {where}: expected one of {', '.join(map(repr, arguments))}, found {value!r}")
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(_convert(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    elif origin is dict:
        if isinstance(value, dict):
            return {
                _convert(k, arguments[0], where): _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()
            }
    elif dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), value, where)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    elif hint is float and isinstance(value, str):
        raise ConfigError(
            f"{PARAMS}: {where}: expected a number, found the text {value!r} (YAML reads 1e-3 as text: write 1.0e-3)"
        )
    raise ConfigError(f"{PARAMS}: {where}: expected {_name(hint)}, found {value!r} ({type(value).__name__})")


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
