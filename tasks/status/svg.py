"""Elements of SVG in which everything that is not an element is escaped; pure."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(name: str, *content: str | Markup, **attributes: object) -> Markup:
    """`<name …>content</name>`; `class_` is `class`, other `_` are `-`; attributes that are None are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = joined(content)
    return Markup(f"<{name}{given}>{inside}</{name}>") if inside else Markup(f"<{name}{given}/>")  # noqa: S704 - escaped


def joined(parts: Iterable[str | Markup]) -> Markup:
    """Parts one after the other, with all text in them escaped."""
    return Markup("").join(parts)


def path(points: Iterable[tuple[float, float]], *, closed: bool = False) -> str:
    """The `d` of straight lines through points."""
    corners = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f"M{corners}{'Z' if closed else ''}"


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
