"""Reads the YAML files into their models, once; every mistake is named by file, key, found and expected."""

import difflib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from configs.case import Case
from configs.errors import ConfigError, UnknownCase
from configs.params import Params
from configs.place import Place

_AT_MOST = 5
_KEPT = 64
_Written = tuple[int, int, int] | None
"""When a file was written, its size and its number: what tells one state of it from the next."""

Model = TypeVar("Model", bound=BaseModel)


def case_names(root: Path) -> list[str]:
    """The cases described under configs/, sorted."""
    return sorted(path.stem for path in (root / "configs").glob("*.yaml"))


def read_case(root: Path, name: str) -> Case:
    """The case `name`. Raises UnknownCase or ConfigError."""
    _must_be_known(root, name)
    path = root / "configs" / f"{name}.yaml"
    return _case(path, _as_written(path))


def read_params(root: Path, name: str) -> Params:
    """The section of params.yaml for the case `name`. Raises UnknownCase or ConfigError."""
    _must_be_known(root, name)
    path = root / "params.yaml"
    return _params(path, name, _as_written(path))


def read_place(root: Path, name: str, environment: dict[str, str] | None = None) -> Place:
    """The overlay `name`, with each value `env:NAME` taken from the environment; `env:NAME?` may be missing.

    Raises ConfigError.
    """
    folder = root / "configs" / "places"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise ConfigError(f"There is no place `{name}` (EVERGREEN_PLACE); known places: {known}.")
    content = mapping(path)
    resolved = _from_environment(content, path, dict(os.environ) if environment is None else environment)
    return build(Place, {**resolved, "name": name}, path)


@lru_cache(maxsize=_KEPT)
def _case(path: Path, written: _Written) -> Case:  # noqa: ARG001 - a file that was written again is read again
    return build(Case, {**mapping(path), "name": path.stem}, path)


@lru_cache(maxsize=_KEPT)
def _params(path: Path, name: str, written: _Written) -> Params:  # noqa: ARG001 - likewise
    sections = mapping(path)
    if name not in sections:
        raise ConfigError(f"{path.name}: there is no section `{name}` (found: {', '.join(sections)}). Add one.")
    return build(Params, sections[name], path, prefix=name)


def _as_written(path: Path) -> _Written:
    try:
        told = path.stat()
    except FileNotFoundError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino


def _must_be_known(root: Path, name: str) -> None:
    known = case_names(root)
    if name not in known:
        raise UnknownCase(name, known, next(iter(difflib.get_close_matches(name, known, 1)), None))


def mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises ConfigError if it is missing, no YAML, or says a key twice."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; it is part of the project, restore it from git.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid YAML in UTF-8: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name}: expected keys and values, found {type(content).__name__}.")
    return content


# libyaml, where it was built in: ten times as fast.
class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML without duplicate keys: of two values for one key, one would silently lose."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"key given twice: {', '.join(twice)}{node.start_mark}")
        constructed: dict[Any, Any] = super().construct_mapping(node, deep)
        return constructed


def _from_environment(value: Any, path: Path, environment: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _from_environment(inner, path, environment) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:").removesuffix("?")
        if not environment.get(name):
            if value.endswith("?"):
                return None
            raise ConfigError(f"{path.name} takes a value from the environment variable {name}, which is not set.")
        return environment[name]
    return value


def build(model: type[Model], content: Any, path: Path, prefix: str = "") -> Model:
    """`content`, which was read from `path`, as a model. Raises ConfigError, which names each wrong key and value."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_sentence(model, problem, prefix) for problem in problems[:_AT_MOST]]
        if len(problems) > _AT_MOST:
            lines.append(f"and {len(problems) - _AT_MOST} more")
        raise ConfigError(f"{path.name}: " + "; ".join(lines)) from error


def _sentence(model: type[BaseModel], problem: Any, prefix: str) -> str:
    key = ".".join(str(part) for part in (prefix, *problem["loc"]) if part != "")
    found = problem["input"]
    if problem["type"] == "extra_forbidden":
        allowed = _keys_at(model, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"expected one of: {', '.join(allowed)}"
        return f"unknown key `{key}`; {hint}"
    if problem["type"] == "missing":
        return f"`{key}` is missing"
    shown = repr(found) if len(repr(found)) <= 60 else f"{type(found).__name__} of {len(repr(found))} characters"
    message = problem["msg"].removeprefix("Value error, ")
    return f"`{key or 'the file'}` is {shown}: {message[0].lower()}{message[1:]}"


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys allowed at a location inside `model`, as far as its annotations tell."""
    here: list[type[BaseModel]] = [model]
    for part in location:
        named = [m.model_fields[part].annotation for m in here if part in m.model_fields]
        # A column of the contract may be called like a key of ours, such as `range`.
        here = [inner for annotation in named for inner in _models_in(annotation)] or here
    return sorted({name for m in here for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]
