"""Alerts reach the place's notification blocks; one that fails is named, kept, and tried again by the next run."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from configs.project import Project
from tasks.adapters.incidents import Incidents
from tasks.triage.incident import Alert, Incident

pytestmark = pytest.mark.slow
NOW = datetime(2011, 4, 11, 2, tzinfo=UTC)
CHANNELS = ("custom-webhook/ops", "custom-webhook/gone")


@dataclass
class Ears:
    """A webhook on this machine, and what it heard."""

    url: str = ""
    heard: list[Any] = field(default_factory=list)


@pytest.fixture
def ears() -> Iterator[Ears]:
    listening = Ears()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            listening.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Listener)
    listening.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield listening
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def due(checkout: Project) -> Incidents:
    """One incident that two channels are to be told of."""
    incident = Incident.model_validate(
        {"id": 1, "case": "bikes", "monitor": "contract", "cause": "contract: humidity", "version": "1"}
        | {"opened_at": NOW, "seen_at": NOW, "action": "block", "rule": "broken data", "key": "k", "reasons": ["why"]}
    )
    incidents = Incidents(checkout)
    incidents.keep(
        [incident], [Alert(incident=1, moment="opened", channel=channel, made_at=NOW) for channel in CHANNELS]
    )
    return incidents


def save_block(name: str, url: str) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock  # noqa: PLC0415 - takes seconds

    words = {"title": "{{subject}}", "text": "{{body}}"}
    CustomWebhookNotificationBlock(name=name, url=url, json_data=words).save(name, overwrite=True)


def test_each_channel_is_told_once_and_the_one_that_failed_again(due: Incidents, ears: Ears) -> None:
    from prefect import flow  # noqa: PLC0415
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    from flows.notifying import send, tell  # noqa: PLC0415

    send.retry_delay_seconds = [0, 0]
    tell_all = flow(lambda: tell("bikes"), name="tell")
    with prefect_test_harness(server_startup_timeout=120):
        save_block("ops", ears.url)
        tell_all()
        assert [each["title"] for each in ears.heard] == ["[bikes] incident 1 opened: broken data (contract: humidity)"]
        assert "What to do: docs/runbook.md#contract" in ears.heard[0]["text"]
        [failed] = due.alerts(unsent=True)
        assert (failed.channel, failed.tries) == ("custom-webhook/gone", 1)
        assert "gone" in failed.error

        save_block("gone", ears.url)
        tell_all()
        assert len(ears.heard) == 2
        assert due.alerts(unsent=True) == []
        assert {alert.channel: alert.tries for alert in due.alerts()} == {CHANNELS[0]: 1, CHANNELS[1]: 2}
        tell_all()
        assert len(ears.heard) == 2, "who was told is not told again"


def block_of(kind: str) -> Any:
    """One of Prefect's own blocks, as a person would save it."""
    from prefect.blocks import notifications as prefects  # noqa: PLC0415

    made: dict[str, Callable[[], Any]] = {
        "slack": lambda: prefects.SlackWebhook(url=f"https://hooks.slack.com/services/{'A' * 9}/{'B' * 9}/{'c' * 24}"),
        "teams": lambda: prefects.MicrosoftTeamsWebhook(
            url=f"https://prod-1.westeurope.logic.azure.com:443/workflows/{'a' * 32}/triggers/manual/paths/invoke"
            f"?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={'c' * 43}"
        ),
        "pager duty": lambda: prefects.PagerDutyWebHook(integration_key="k" * 32, api_key="a" * 20),
        "email": lambda: prefects.SendgridEmail(
            api_key="SG.abc", sender_email="evergreen@example.com", to_emails=["ada@example.com"]
        ),
    }
    return made[kind]()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # by Apprise, at its import
@pytest.mark.parametrize("kind", ["slack", "teams", "pager duty", "email"])
def test_each_kind_of_channel_carries_the_subject_and_the_facts(
    kind: str, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests  # noqa: PLC0415
    from prefect.blocks.core import Block  # noqa: PLC0415
    from prefect.blocks.notifications import NotificationError  # noqa: PLC0415

    from flows.notifying import deliver  # noqa: PLC0415

    request, asked = requests.Session.request, []

    def to_this_machine(session: requests.Session, method: str, url: str, **given: Any) -> requests.Response:
        asked.append(url)
        return request(session, method, ears.url, **given)

    block = block_of(kind)
    monkeypatch.setattr(Block, "load", lambda _: block)
    monkeypatch.setattr(requests.Session, "request", to_this_machine)
    deliver("any/ops", "[bikes] incident 1 opened", "What happened: humidity is 100 %")
    assert len(asked) == 1
    said = json.dumps(ears.heard[0], ensure_ascii=False)
    assert "[bikes] incident 1 opened" in said
    assert "What happened: humidity is 100 %" in said

    def away(*_: Any, **__: Any) -> requests.Response:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests.Session, "request", away)
    with pytest.raises(NotificationError):
        deliver("any/ops", "a", "b")
