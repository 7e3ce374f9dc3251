"""A case's `triage` section as text, and put into its file so that no comment of a person is lost."""

import re
from pathlib import Path
from typing import Any

import yaml

from configs.triage import Triage

_SECTION = re.compile(r"^triage:.*\n(?:(?:[ \t].*)?\n)*", re.MULTILINE)


def triage_section(triage: Triage) -> str:
    """The section as YAML, one rule a line; what is as it would be anyway is left out."""
    told = triage.model_dump(mode="json", exclude_defaults=True)
    lines = ["triage:", "  rules:" if triage.rules else "  rules: []"]
    lines += [f"    - {_flow(rule.model_dump(mode='json', exclude_defaults=True))}" for rule in triage.rules]
    lines += [f"  {key}: {_flow(value)}" for key, value in told.items() if key != "rules"]
    return "\n".join(lines) + "\n"


def with_section(text: str, section: str) -> str | None:
    """A case's file with this `triage` section; None if a comment stands in the one it would replace."""
    found = _SECTION.search(text if text.endswith("\n") else text + "\n")
    if found is None:
        return text.rstrip("\n") + "\n\n" + section
    kept = found.group().rstrip("\n")
    if "#" in kept:
        return None
    return text[: found.start()] + section.rstrip("\n") + text[found.start() + len(kept) :]


def write_section(path: Path, section: str) -> bool:
    """Put the section into a case's file; whether that could be done."""
    changed = with_section(path.read_text(encoding="utf-8"), section)
    if changed is None:
        return False
    part = path.with_name(f".{path.name}.part")
    part.write_text(changed, encoding="utf-8")
    part.replace(path)
    return True


def _flow(value: Any) -> str:
    return (
        str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000))
        .removesuffix("\n...\n")
        .strip()
    )
