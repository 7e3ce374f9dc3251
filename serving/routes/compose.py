"""compose: from what the registry says and which versions stand ready to who answers; pure."""

from collections.abc import Mapping
from typing import Any

from serving.routes.local import CaseRoutes, RouteEntry
from serving.routes.prepared import as_pipeline
from tasks.adapters.registry import Standing


def compose(standing: Standing, ready: Mapping[str, RouteEntry], before: CaseRoutes | None) -> dict[str, Any]:
    """What the routes of a case should say, beside their generation and date.

    Until a champion stands ready, whoever was champion goes on, with whoever stood behind. A challenger that is not
    ready answers nobody; nor does one the registry no longer names. `ready`: see `still_answering` too.
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
        "shadow": standing.traffic.shadow if challenger else 0.0,
    }


def still_answering(
    standing: Standing, proving: Mapping[str, str | None], before: CaseRoutes | None
) -> dict[str, RouteEntry]:
    """Versions that have the role the registry names already, and are only being proven again, as after a restart.

    They go on meanwhile: nobody is moved to another version because a keeper started. `proving`: the model digest
    of each version under way, for a number may mean another model now.
    """
    if before is None:
        return {}
    roles = (
        (before.champion, standing.champion),
        (before.challenger, standing.challenger),
        (before.retired, standing.retired),
    )
    return {
        entry.version: entry
        for entry, named in roles
        if entry and entry.version == named and proving.get(named) == entry.model_sha256
    }


def without_plan(routes: CaseRoutes, version: str) -> dict[str, Any]:
    """What the routes should say when nothing changes but that `version` answers as the pipeline itself."""
    fields = {
        name: getattr(routes, name) for name in CaseRoutes.model_fields if name not in ("generation", "written_at")
    }
    for role in ("champion", "challenger", "retired"):
        entry = fields[role]
        if entry and entry.version == version:
            fields[role] = as_pipeline(entry)
    return fields


def _of(ready: Mapping[str, RouteEntry], version: str | None) -> RouteEntry | None:
    return ready.get(version) if version else None


def _unless(entry: RouteEntry | None, other: RouteEntry | None) -> RouteEntry | None:
    return None if entry and other and entry.version == other.version else entry
