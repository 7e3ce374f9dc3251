"""Who is compared: the gateway in several settings, and the peers; each with its requests and a check of answers."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.serving import bodies
from benchmarks.serving.adapters.model import Model
from benchmarks.serving.bodies import Row
from benchmarks.serving.ours import CASE, Prepared, State, start_gateway
from benchmarks.serving.peers import PEERS, Peer, start_peer
from benchmarks.serving.processes import Server
from configs.case import Contract
from configs.project import Project
from serving.engine.kernel import LIBRARY

CHAMPION = "1"
"""Who is champion in the states `asked` and `shared`, and what the peers serve."""
_CHECKED = 20


class AnswersWrongly(RuntimeError):
    """A server whose answers are not the model's own: its speed says nothing."""


@dataclass(frozen=True)
class Scene:
    """What all contenders have in common."""

    prepared: Prepared
    rows: list[Row]
    scratch: Path
    state: State
    cache: Path

    @property
    def contract(self) -> Contract:
        return Project(self.prepared.folder / "asked").case(CASE).contract


@dataclass(frozen=True)
class Contender:
    """A server, how it is started, what it is asked, and whether it answers as the model does."""

    name: str
    start: Callable[[], AbstractContextManager[Server]]
    requests: Callable[[int, str | None], Path]
    """File of requests with so many rows each, in one of `bodies.FORMS`, or else as it is usually asked."""
    check: Callable[[Server], None]
    """Raises AnswersWrongly."""
    ours: bool


OURS: dict[str, dict[str, Any]] = {
    "gateway": {},
    "gateway, 1 worker": {"workers": 1},
    "gateway, on disk before the answer": {"log.durability": "answer"},
    "gateway, any pipeline": {},
}
"""Settings of the place. The last one has no compiled library, so that it must batch the pipeline itself."""


def contenders(scene: Scene, ours: Sequence[str], peers: Sequence[str]) -> list[Contender]:
    """Those named, ours first."""
    return [_our(scene, name) for name in ours] + [_peer(scene, name) for name in peers]


def _our(scene: Scene, name: str) -> Contender:
    path, words = bodies.FORMS["plain"]
    models = {version: Model(scene.prepared.model(version)) for version in ("1", "2")}

    def check(server: Server) -> None:
        for row in scene.rows[:_CHECKED]:
            said = _ask(server, path.format(case=CASE), words(scene.contract, [row])[1])
            expected = models[said["model_version"]].probabilities(bodies.features_only(scene.contract, [row]))[0]
            _must_be(name, said["probability"], expected, exactly=True)

    return Contender(
        name,
        start=partial(_started, scene, name),
        requests=lambda each, form: _requests(scene, f"gateway-{form}", _form(form or "plain"), scene.rows, each),
        check=check,
        ours=True,
    )


@contextmanager
def _started(scene: Scene, name: str) -> Iterator[Server]:
    with scene.prepared.clone(scene.state) as project:
        if name == "gateway, any pipeline":
            (project.root / "serving" / "engine" / LIBRARY.name).unlink()
        with start_gateway(project, OURS[name]) as server:
            yield server


def _peer(scene: Scene, name: str) -> Contender:
    peer: Peer = PEERS[name]
    model = scene.prepared.model(CHAMPION)
    rows = bodies.features_only(scene.contract, scene.rows)

    def body(chosen: list[Row]) -> bytes:
        return peer.words(scene.contract, chosen)[1]

    def check(server: Server) -> None:
        if not peer.predicts:
            return
        asked = rows[:_CHECKED]
        answers = [peer.read(_ask(server, peer.path, body([row])))[0] for row in asked]
        for answer, expected in zip(answers, Model(model).probabilities(asked), strict=True):
            # mlflow gives labels.
            _must_be(name, answer, expected if isinstance(answer, float) else int(expected > 0.5), exactly=False)

    return Contender(
        name,
        start=lambda: start_peer(name, model, body(rows[:1]), scene.cache),
        requests=lambda each, _: _requests(scene, name, (peer.path, peer.words), rows, each),
        check=check,
        ours=False,
    )


def _form(name: str) -> tuple[str, bodies.Words]:
    path, words = bodies.FORMS[name]
    return path.format(case=CASE), words


def _requests(scene: Scene, name: str, how: tuple[str, bodies.Words], rows: Sequence[Row], each: int) -> Path:
    path = scene.scratch / f"{name}-{each}.requests"
    if path.exists():
        return path
    return bodies.write_requests(path, bodies.build_requests(how[0], how[1], scene.contract, rows, each))


def _ask(server: Server, path: str, body: bytes) -> Any:
    request = urllib.request.Request(f"{server.url}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise AnswersWrongly(f"{server.name} said {error.code}: {said}\n{server.tail()}") from error


def _must_be(name: str, found: float, expected: float, *, exactly: bool) -> None:
    if found != expected and (exactly or abs(found - expected) > 1e-9):
        raise AnswersWrongly(f"{name} answered {found!r}, the model answers {expected!r}")
