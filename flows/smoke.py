"""Smoke tests: real rows and bad ones, through the public endpoint, in every protocol; what users would see."""

import json
import os
import time
from collections.abc import Sequence
from typing import Any

import httpx

from configs.case import Case
from configs.errors import EvergreenError
from configs.project import Project
from flows.recorded_rows import Row
from flows.server import running_stack
from serving.protocols.oip import input_datatypes
from tasks.records import Reason

REQUEST_ID = "smoke-"
"""How the request ids of smoke tests begin in the prediction log."""
_RULE = "smoke test"
_SECONDS = 10
_PATIENCE_SECONDS = 15.0
_PAUSE_SECONDS = 0.05
_IN_A_ROW = 10
_BAD_STATUSES = frozenset({400, 422})
_NO_KEY = frozenset({401, 403})
_NOT_NOW = frozenset({429, 503})


class NotAsked(EvergreenError):
    """The gateway refused before it asked any version."""

    def __init__(self, status: int, said: str) -> None:
        remedy = "set EVERGREEN_GATEWAY_KEY to a key of the gateway" if status in _NO_KEY else "it is asked again"
        super().__init__(f"the gateway answers {status} ({said}); {remedy}")


def public_address(project: Project) -> str:
    """Where users reach the gateway: EVERGREEN_GATEWAY_URL, or this machine's own."""
    stack = running_stack(project)
    gateway = project.place.gateway
    own = stack.gateway if stack else f"http{'s' if gateway.tls else ''}://127.0.0.1:{gateway.port}"
    return os.environ.get("EVERGREEN_GATEWAY_URL", own).rstrip("/")


def smoke(  # noqa: PLR0913 - whom, what, and how
    url: str, case: Case, rows: Sequence[Row], version: str, *, pinned: bool, patience: float = _PATIENCE_SECONDS
) -> Reason:
    """Ask `rows` in every protocol, then a bad row in each; `pinned` asks for the version by its number.

    Without it, every answer must be the version's, which has all of the traffic; a replica that has not seen that yet
    gets `patience` seconds. A gateway that cannot be reached, lets nobody in or has no room says nothing about the
    challenger: the rule waits.
    """
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS, headers=_key()) as client:
            if not pinned:
                _await(client, case, rows[0], version, patience)
            problems = _problems(client, case, rows, version, pinned=pinned)
    except httpx.TransportError as error:
        text = f"the gateway cannot be reached at {url} ({type(error).__name__}); start `evergreen serve`, or set "
        return Reason(rule=_RULE, passed=False, inconclusive=True, text=f"{text}EVERGREEN_GATEWAY_URL")
    except NotAsked as error:
        return Reason(rule=_RULE, passed=False, inconclusive=True, text=str(error))
    how = f"version {version}, {len(rows)} real rows and bad ones in three protocols"
    text = f"{how}: {'; '.join(problems[:3]) if problems else 'all as it should be'}"
    return Reason(rule=_RULE, passed=not problems, text=text)


def _await(client: httpx.Client, case: Case, row: Row, version: str, patience: float) -> None:
    """Ask until several answers in a row are the version's."""
    deadline, right = time.monotonic() + patience, 0
    path = f"/predict/{case.name}"
    while right < _IN_A_ROW and time.monotonic() < deadline:
        wrong = _answer_of(client, path, row, f"{REQUEST_ID}{version}-await", version)
        right = 0 if wrong else right + 1
        time.sleep(_PAUSE_SECONDS)


def _problems(client: httpx.Client, case: Case, rows: Sequence[Row], version: str, *, pinned: bool) -> list[str]:
    found = []
    tensors = f"/v2/models/{case.name}/versions/{version}/infer" if pinned else f"/v2/models/{case.name}/infer"
    for number, row in enumerate(rows):
        for path, body in _asking(case, row, tensors).items():
            ours = not pinned or path == tensors
            found += _answer_of(client, path, body, f"{REQUEST_ID}{version}-{number}", version if ours else None)
    bad = _spoilt(case, rows[0])
    for path, body in _asking(case, bad, tensors).items():
        status = _post(client, path, body, f"{REQUEST_ID}{version}-bad").status_code
        if status not in _BAD_STATUSES:
            found.append(f"{path} answers {status} to a row that breaks the contract")
    return found


def _answer_of(client: httpx.Client, path: str, body: Any, request_id: str, version: str | None) -> list[str]:
    answer = _post(client, path, body, request_id)
    if answer.status_code != httpx.codes.OK:
        return [f"{path} answers {answer.status_code}: {answer.text[:100]}"]
    said = answer.json()
    by = said.get("model_version") or answer.headers.get("x-model-version")
    if version is not None and by is not None and by != version:
        return [f"{path} is answered by version {by}"]
    return []


def _post(client: httpx.Client, path: str, body: Any, request_id: str) -> httpx.Response:
    headers = {"content-type": "application/json", "x-request-id": request_id}
    answer = client.post(path, content=json.dumps(body), headers=headers)
    if answer.status_code in _NO_KEY | _NOT_NOW:
        raise NotAsked(answer.status_code, answer.text[:200])
    return answer


def _asking(case: Case, row: Row, tensors: str) -> dict[str, Any]:
    kinds = input_datatypes(case)
    given = {name: value for name, value in row.items() if value is not None}
    inputs = [{"name": name, "shape": [1], "datatype": kinds[name], "data": [value]} for name, value in given.items()]
    return {
        f"/predict/{case.name}": row,
        tensors: {"inputs": inputs},
        f"/{case.name}/invocations": {"dataframe_records": [row]},
    }


def _spoilt(case: Case, row: Row) -> Row:
    """The row without what the contract demands of each."""
    columns = case.contract.columns
    needed = next((name for name in case.contract.features if not columns[name].may_be_missing), None)
    return {name: value for name, value in row.items() if name != (needed or case.contract.features[0])}


def _key() -> dict[str, str]:
    key = os.environ.get("EVERGREEN_GATEWAY_KEY")
    return {"authorization": f"Bearer {key}"} if key else {}
