"""The page: every record of a story on it, nothing of it able to write into it, and bounded however much there is."""

import base64
import hashlib
import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pytest

from tasks.records import Event
from tasks.status.assets import policy
from tasks.status.frame import NARROW, WIDE, Frame
from tasks.status.happenings import happenings
from tasks.status.lanes import MOST_MARKS, grouped
from tasks.status.page import draw
from tasks.status.picture import year_of
from tasks.status.story import Addresses, CaseStory, Performance, Spell, Story, Trouble
from tasks.verdicts import Answer, Figure, Monitor, Verdict
from tests.status.conftest import ADDRESSES, NOW
from tests.status.year import on

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>' javascript:alert(1) &amp;"
AUC = Performance(metric="auc", lower_is_better=False)


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []


def story(*cases: CaseStory, addresses: Addresses = ADDRESSES) -> Story:
    return Story(place="local", drawn_at=NOW, addresses=addresses, cases=cases)


def test_the_year_is_drawn_small_and_needs_nothing_from_the_network(year: Story) -> None:
    html = draw(year)
    assert len(html.encode()) < 300_000
    outline = Outline(html)
    assert {"link", "img", "iframe", "object"}.isdisjoint(outline.tags[outline.tags.index("body") :])
    assert outline.tags.count("script") == 1
    assert not re.search(r"@import|url\(", html)
    assert outline.handlers == [], "what is inline would need a weaker policy"


def test_every_link_within_the_page_leads_somewhere_and_no_two_places_have_one_name(year: Story) -> None:
    outline = Outline(draw(year))
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)


def test_who_serves_why_and_what_waits_is_told_with_the_form(year: Story) -> None:
    html = draw(year)
    assert "champion since 2013-10-17 02:00, trained on 2013-04-19 to 2013-09-06" in html
    assert "version 5 became champion: canary 100 %: all 6 rules passed" in html
    assert "Kept warm to go back to:" in html
    assert "May version 6 serve?" in html
    assert '<a class="button" href="http://127.0.0.1:4200/runs/flow-run/00000000-0000-4000-8000-201312230200">' in html
    assert "evergreen approve 6 --by YOU" in html


def test_verdicts_have_their_figures_threshold_and_rate_the_loudest_first(flights: CaseStory) -> None:
    loud = flights.standing[3].model_copy(
        update={"answer": Answer.alarm, "statistic": 0.125, "threshold": 0.1, "error_rate": 0.05, "text": "it is `wet`"}
    )
    html = draw(story(flights.model_copy(update={"standing": (*flights.standing[:3], loud)})))
    table = html[html.index('id="flights-verdicts"') :]
    first = table[table.index("<tbody>") : table.index("</tr>", table.index("<tbody>"))]
    assert f"<b>{loud.monitor}</b>" in first
    assert "it is <code>wet</code>" in first
    assert re.findall(r'class="number">([^<]+)<', first) == ["0.125", "0.1", "5 %"]


def test_open_incidents_come_first_with_who_takes_care(year: Story) -> None:
    html = draw(year)
    table = html[html.index('id="flights-incidents"') : html.index('id="flights-triage"')]
    assert re.findall(r'<span class="pill \w+">(\w+)</span>', table) == ["open", "closed", "closed"]
    assert table.index(">nobody<") < table.index(">grace<") < table.index(">ada<")


def test_windows_show_what_was_promised_what_came_true_and_how_many_labels_are_in(year: Story) -> None:
    html = draw(year)
    table = html[html.index('id="flights-windows"') : html.index('id="flights-shares"')]
    newest = table[table.index("<td") : table.index("</tr>", table.index("<td"))]
    assert "2013-12-23 to 2013-12-30" in newest
    assert re.search(r'"estimated" class="number">0\.7\d+ \(0\.7\d* to 0\.7\d+\)', newest)
    assert newest.count("–") == 2, "its labels are not in yet"  # noqa: RUF001
    assert re.search(r'"realised" class="number">0\.7\d+ \(0\.\d+ to 0\.\d+\)', table)
    assert re.search(r'"labels in" class="number">9[789](\.\d)? %', table)


def test_nothing_that_people_or_data_wrote_can_write_into_the_page(flights: CaseStory) -> None:
    event = flights.events[-1].model_copy(update={"reason": HOSTILE, "by": HOSTILE})
    verdict = flights.standing[0].model_copy(update={"text": f"`{HOSTILE}`", "version": HOSTILE})
    incident = flights.incidents[0].model_copy(
        update={"cause": HOSTILE, "acknowledged_by": HOSTILE, "reasons": (HOSTILE,), "run": HOSTILE}
    )
    spell = flights.spells[0].model_copy(update={"cause": HOSTILE, "text": HOSTILE})
    share = flights.shares[-1].model_copy(update={"by": HOSTILE, "reason": HOSTILE})
    blocked = flights.blocked[0].model_copy(update={"why": HOSTILE, "batch_id": HOSTILE})
    model = flights.models[0].model_copy(update={"version": HOSTILE, "question": HOSTILE, "trained_on": HOSTILE})
    hostile = flights.model_copy(
        update={
            "events": (*flights.events, event),
            "standing": (verdict,),
            "incidents": (incident,),
            "spells": (spell,),
            "shares": (*flights.shares, share),
            "blocked": (blocked,),
            "models": (model,),
            "troubles": (Trouble(part="history", why=HOSTILE),),
            "left_out": (HOSTILE,),
        }
    )
    plain = Outline(draw(story(flights)))
    outline = Outline(draw(story(hostile)))
    assert outline.tags.count("script") == plain.tags.count("script") == 1
    assert "img" not in outline.tags
    assert outline.handlers == []
    assert not [link for link in outline.links if link.startswith("javascript:")]


def test_the_policy_names_the_style_and_script_that_are_in_the_page(year: Story) -> None:
    html = draw(year)
    assert policy() in unescape(html)
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy()


def test_a_case_in_which_nothing_happened_says_how_to_begin_and_comes_last(flights: CaseStory) -> None:
    bikes = CaseStory(case="bikes", performance=AUC)
    html = draw(story(bikes, flights))
    assert html.index('id="flights"') < html.index('id="bikes"')
    assert "evergreen run bikes" in html
    assert "bikes-verdicts" not in html


def test_one_event_alone_is_a_page_with_a_picture() -> None:
    said = {"case": "bikes", "at": NOW, "what": "approved", "version": "1", "by": "policy", "reason": "the first"}
    html = draw(story(CaseStory(case="bikes", performance=AUC, events=(Event.model_validate(said),))))
    assert html.count('<svg viewBox="0 0 1080') == 1
    assert "no window has been judged yet" in html
    assert "No monitor has looked yet" in html


def test_monitors_that_wait_for_a_first_champion_make_no_picture_and_no_quiet(flights: CaseStory) -> None:
    waiting = tuple(each.model_copy(update={"answer": Answer.waiting, "version": None}) for each in flights.standing)
    bikes = CaseStory(case="bikes", performance=AUC, standing=waiting, looks=(NOW, NOW))
    html = draw(story(bikes, flights))
    assert html.index('id="flights"') < html.index('id="bikes"')
    told = html[html.index('id="bikes"') :]
    assert "nobody yet" in told
    assert "The year" not in told
    assert "all quiet" not in told


@pytest.mark.parametrize("part", ["registry", "history", "journal", "incidents", "deliveries"])
def test_what_could_not_be_read_is_said_and_the_rest_stands(flights: CaseStory, part: str) -> None:
    html = draw(story(flights.model_copy(update={"troubles": (Trouble(part=part, why="the disk is gone"),)})))
    assert f"<b>The {part} could not be read,</b>" in html
    assert "the disk is gone" in html
    assert "not all could be read" in html
    assert "version 5" in html


def test_thousands_of_events_are_drawn_in_bounded_space_and_what_is_left_out_is_said() -> None:
    minute = timedelta(minutes=90)
    said = {"case": "bikes", "what": "traffic", "version": "2", "by": "ada", "reason": "a longer look " * 20}
    start = on(1, 1)
    events = tuple(Event.model_validate(said | {"at": start + number * minute}) for number in range(5000))
    spells = tuple(
        Spell(
            monitor=Monitor.inputs, answer=Answer.alarm, cause=f"column {number}", start=start + number * 5 * minute,
            end=start + number * 5 * minute, looks=1, text="it differs " * 40,
        )
        for number in range(1000)
    )  # fmt: skip
    figures = tuple(
        Figure(
            case="bikes", kind="realised", metric="auc", start=start + number * minute,
            end=start + (number + 100) * minute, version="1", value=0.7, low=0.6, high=0.8, rows=100,
        )
        for number in range(5000)
    )  # fmt: skip
    performance = AUC.model_copy(update={"realised": figures, "estimated": figures})
    many = CaseStory(case="bikes", performance=performance, events=events, spells=spells)
    html = draw(story(many))
    assert len(html.encode()) < 300_000
    assert "5,850 older ones are left out here" in html.replace("5850", "5,850")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_lane_has_more_marks_than_can_be_told_apart(flights: CaseStory, width: float) -> None:
    year = year_of(flights)
    assert year is not None
    axis = Frame.of(width, *year).axis
    every = happenings(flights, ADDRESSES)
    lots = [one.model_copy(update={"lane": "trainings"}) for one in every for _ in range(30)]
    groups = grouped(axis, lots)
    assert len(groups) <= MOST_MARKS
    assert sum(map(len, groups)) == len(lots)


def test_decisions_of_another_time_are_in_the_list_and_not_in_the_picture(flights: CaseStory) -> None:
    decided = next(event for event in flights.events if event.what == "approved")
    today = decided.model_copy(update={"at": NOW, "reason": "looked at years later"})
    html = draw(story(flights.model_copy(update={"events": (*flights.events, today)})))
    assert "1 of what happened lies outside this time" in html
    assert "looked at years later" in html
    assert "2013-04-01 to 2013-12-30" in html


def test_a_verdict_about_nothing_has_no_numbers() -> None:
    verdict = Verdict(
        case="bikes", monitor=Monitor.freshness, answer=Answer.unknown, as_of=NOW, start=NOW, end=NOW, version=None,
        rows=0, text="it could not compute",
    )  # fmt: skip
    html = draw(story(CaseStory(case="bikes", performance=AUC, standing=(verdict,), looks=(NOW, NOW))))
    assert '<span class="pill unknown">unknown</span>' in html
    assert "no champion, 0 rows" in html
