"""Addresses of the stores: where a place's SQLite files lie."""

from configs.project import Project


def absolute(project: Project, url: str) -> str:
    """`url`, with the path of an SQLite file taken from the project's root and its folder made; others unchanged."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(f"{prefix}/"):
        path = project.root / url.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"{prefix}{path}"
    return url
