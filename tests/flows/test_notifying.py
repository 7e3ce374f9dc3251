"""Alerts reach the place's notification blocks; one that fails is named, kept, and tried again by the next run."""

import json
import threading
from collections.abc import Iterator
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
            self.send_header("Content-Length", "0")
            self.end_headers()

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
