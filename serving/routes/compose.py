"""compose: from what the registry says and which versions stand ready to who answers; pure."""

from collections.abc import Mapping
from typing import Any

from serving.routes.local import CaseRoutes, RouteEntry
from tasks.adapters.registry import Standing


def compose(standing: Standing, ready: Mapping[str, RouteEntry], before: CaseRoutes | None) -> dict[str, Any]:
    """What the routes of a case should say, beside their generation and date.

    Until a champion stands ready, whoever was champion goes on, with whoever stood behind. A challenger that is not
    ready answers nobody; nor does one the registry no longer names.
    """
    champion, retired = _of(ready, standing.champion), _of(ready, standing.retired)
    if standing.champion and champion is None:
        champion, retired = (before.champion, before.retired) if before else (None, None)
    # A decision is several writes: between them one version can be named twice.
    challenger = _unless(_of(ready, standing.challenger), champion)
    return {
        "case": standing.case,
        "salt": standing.traffic.salt,
        "champion": champion,
        "challenger": challenger,
        "retired": _unless(retired, champion),
        "share": standing.traffic.share if challenger else 0.0,
        "shadow": standing.traffic.shadow and challenger is not None,
    }


def _of(ready: Mapping[str, RouteEntry], version: str | None) -> RouteEntry | None:
    return ready.get(version) if version else None


def _unless(entry: RouteEntry | None, other: RouteEntry | None) -> RouteEntry | None:
    return None if entry and other and entry.version == other.version else entry
