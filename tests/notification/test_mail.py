"""Mail reaches a mail server, whole and encoded; never unencrypted where that was not asked for."""

import smtplib
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from configs.alerts import AlertParams, MailParams
from tasks.notification.mail import mail
from tests.outcomes.loans import project


class Post(socketserver.TCPServer):
    """A mail server on this machine that offers no encryption, and what it took."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Letters)
        self.taken: list[tuple[str, list[str], bytes]] = []


class Letters(socketserver.StreamRequestHandler):
    server: Post

    def handle(self) -> None:
        self.say("220 here")
        sender, to = "", list[str]()
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "MAIL":
                sender = rest
            elif verb == "RCPT" and "gone@" in rest:
                self.say("550 nobody of that name")
                continue
            elif verb == "RCPT":
                to.append(rest)
            elif verb == "DATA":
                self.say("354 go on")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                self.server.taken.append((sender, to, b"".join(lines)))
            self.say("221 bye" if verb == "QUIT" else "250 fine")

    def say(self, words: str) -> None:
        self.wfile.write(words.encode() + b"\r\n")


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def at(post: Post, **changes: object) -> MailParams:
    given = {"host": "127.0.0.1", "port": post.server_address[1], "security": "none"}
    given |= {"sender": "evergreen@example.com", "to": ["ada@example.com", "bo@example.com"]}
    return MailParams.model_validate(given | changes)


def test_a_message_arrives_with_its_subject_and_its_facts(post: Post) -> None:
    mail(at(post), "[bikes] incident 1 opened:\nhumidity", "What happened: humidity is 100 % \N{EN DASH} since noon")
    [(sender, to, data)] = post.taken
    read = message_from_bytes(data, policy=policy.default)
    assert "evergreen@example.com" in sender
    assert len(to) == 2
    assert read["Subject"] == "[bikes] incident 1 opened: humidity"
    assert read["To"] == "ada@example.com, bo@example.com"
    assert read.get_content().strip() == "What happened: humidity is 100 % \N{EN DASH} since noon"


def test_one_who_is_not_known_keeps_no_other_from_being_told(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    mail(at(post, to=["gone@example.com", "ada@example.com"]), "a", "b")
    assert len(post.taken) == 1
    assert "takes nothing for gone@example.com" in caplog.text
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        mail(at(post, to=["gone@example.com"]), "a", "b")


def test_nothing_is_sent_in_clear_where_encryption_is_asked_for(post: Post) -> None:
    with pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS"):
        mail(at(post, security="starttls"), "a", "b")
    with pytest.raises(ValidationError, match="encrypted connection only"):
        at(post, user="evergreen", password="open sesame")
    assert post.taken == []


def test_an_alert_for_the_channel_goes_to_the_places_server(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.notifying import deliver  # noqa: PLC0415 - takes seconds

    place = project(tmp_path).root / "configs/places/local.yaml"
    alerts = {"channels": ["mail"], "mail": at(post).model_dump(mode="json")}
    place.write_text(yaml.safe_dump({**yaml.safe_load(place.read_text()), "alerts": alerts}))
    monkeypatch.setenv("EVERGREEN_ROOT", str(tmp_path))
    deliver("mail", "[loans] incident 1 opened", "What happened: much")
    assert b"incident 1 opened" in post.taken[0][2]


def test_the_channel_and_the_server_go_together(post: Post) -> None:
    assert AlertParams(channels=("mail", "slack-webhook/ops"), mail=at(post)).mail
    for half in ({"channels": ["mail"]}, {"mail": at(post)}):
        with pytest.raises(ValidationError, match="go together"):
            AlertParams.model_validate(half)
