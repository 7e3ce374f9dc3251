"""What the gateway shows of the loop: the status page, as it is now, and the pages it leads to."""

import os
from pathlib import Path

import pytest

from configs.project import Project
from serving.app import _unless_known
from serving.errors import NotFound
from serving.evidence import Evidence
from serving.records import Reply


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def written(project: Project, content: str) -> Path:
    project.status_page.parent.mkdir(parents=True, exist_ok=True)
    project.status_page.write_text(content)
    return project.status_page


def header(reply: Reply, name: bytes) -> bytes:
    return dict(reply.headers)[name]


def test_until_there_is_a_page_the_root_leads_to_the_documents(project: Project) -> None:
    reply = Evidence(project).status_page()
    assert (reply.status, header(reply, b"location")) == (307, b"/docs")
    assert header(reply, b"cache-control") == b"no-cache", "a redirect that is remembered would hide the page for ever"


def test_the_page_is_shown_as_html_that_may_run_and_fetch_nothing_of_others(project: Project) -> None:
    written(project, "<p>as it is")
    reply = Evidence(project).status_page()
    assert (reply.status, reply.body, reply.content_type) == (200, b"<p>as it is", b"text/html; charset=utf-8")
    policy = header(reply, b"content-security-policy").decode()
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("frame-ancestors 'none'")
    assert "unsafe" not in policy


def test_a_page_that_was_written_anew_is_read_anew_and_has_another_tag(project: Project) -> None:
    evidence = Evidence(project)
    path = written(project, "<p>one")
    first = evidence.status_page()
    path.write_text("<p>two")
    os.utime(path, ns=(0, 1))
    second = evidence.status_page()
    assert second.body == b"<p>two"
    assert header(first, b"etag") != header(second, b"etag")


def test_a_page_that_did_not_change_is_not_read_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    written(project, "<p>one")
    evidence = Evidence(project)
    first = evidence.status_page()
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read again"))
    assert evidence.status_page().body == first.body


def test_a_client_that_has_the_page_gets_no_body(project: Project) -> None:
    written(project, "<p>one")
    reply = Evidence(project).status_page()
    tag = header(reply, b"etag")
    for shown in (tag, b"W/" + tag, b'"other", ' + tag, b"*"):
        known = _unless_known(reply, {b"if-none-match": shown})
        assert (known.status, known.body) == (304, b"")
        assert header(known, b"etag") == tag
    assert _unless_known(reply, {b"if-none-match": b'"other"'}).body == b"<p>one"
    assert _unless_known(reply, {}).status == 200


def test_an_answer_without_a_tag_is_never_known() -> None:
    reply = Reply(200, b"{}")
    assert _unless_known(reply, {b"if-none-match": b"*"}) is reply


def test_reports_run_their_scripts_as_if_they_came_from_nowhere(project: Project) -> None:
    folder = project.monitoring("bikes") / "reports"
    folder.mkdir(parents=True)
    (folder / "1-20130408T020000Z.html").write_text("<script>draw()</script>")
    reply = Evidence(project).reports("bikes", "1-20130408T020000Z.html")
    assert reply.body == b"<script>draw()</script>"
    policy = header(reply, b"content-security-policy")
    assert policy.startswith(b"sandbox allow-scripts; default-src 'none'")
    assert b"allow-same-origin" not in policy


@pytest.mark.parametrize(
    "name", ["../../secret.html", "..", ".hidden.html", "a/b.html", "report.json", "gone.html", ""]
)
def test_no_other_file_is_shown(project: Project, name: str) -> None:
    folder = project.files("bikes").validation
    folder.mkdir(parents=True)
    for there in (folder / ".hidden.html", folder / "report.json", folder.parents[1] / "secret.html"):
        there.write_text("secret")
    with pytest.raises(NotFound, match="There is no page"):
        Evidence(project).validations("bikes", name)
