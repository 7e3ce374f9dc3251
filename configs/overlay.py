"""A configuration file changed by a program, for a copy of the project that nobody edits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from configs.read import mapping


def overlay(path: Path, changes: Mapping[str, Any]) -> None:
    """Set each value of a YAML file that `changes` names by its dotted key. Comments are lost."""
    content = mapping(path)
    for key, value in changes.items():
        *above, last = key.split(".")
        section = content
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
    part = path.with_name(f".{path.name}.part")
    part.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    part.replace(path)
