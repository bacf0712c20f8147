"""What the pages say in words: sentences, times, evidence, links and files."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from remediate.decisions.variables import Evidence
from remediate.entries.denial import Deploy, ResourceKind
from remediate.errors import BadInput
from remediate.presentation.plaintext import csv_text
from remediate.records.states import State
from remediate.review.context import format_mark, parse_mark
from remediate.review.formatting import (
    evidence_answers,
    exact_time,
    parse_moment,
    relative_time,
    sentence,
    story_start,
    with_breaks,
)
from remediate.review.links import console_links, manual_commands
from remediate.times import to_rfc3339
from tests.records.changed import with_fields
from tests.review.records import NOON, record


@pytest.mark.parametrize(
    ("ago", "told"),
    [
        (timedelta(hours=2), "10:00 UTC today"),
        (timedelta(days=1), "Tuesday"),
        (timedelta(days=6), "Thursday"),
        (timedelta(days=7), "18 November"),
        (timedelta(days=400), "21 October 2025"),
    ],
)
def test_a_story_begins_today_on_a_day_or_at_a_date(ago: timedelta, told: str) -> None:
    assert story_start(to_rfc3339(NOON - ago), NOON) == told


def test_a_proposal_is_one_sentence() -> None:
    made = with_fields(record(), denials=14, first_seen=to_rfc3339(NOON - timedelta(days=1)))
    who = "github-deployer@shop-frontend.iam.gserviceaccount.com"
    assert sentence(made, NOON) == (
        f"{who} could not read images in images/containers (us) while deploying web in shop, 14 times since Tuesday."
    )
    once = with_fields(made, denials=1, first_seen=to_rfc3339(NOON - timedelta(hours=2)))
    assert sentence(once, NOON).endswith("while deploying web in shop, once, at 10:00 UTC today.")
    ahead = with_fields(made, denials=0)
    assert (
        f"{who} can read images in images/containers (us): remediate granted access before the first denial"
        in sentence(ahead, NOON)
    )
    assert "will not be able to read images" in sentence(with_fields(ahead, state=State.PROPOSED), NOON)
    assert "would not be able to read images" in sentence(with_fields(ahead, state=State.REJECTED), NOON)
    job = with_fields(made, deploys=(Deploy(kind=ResourceKind.WORKER_POOL, number="12"),))
    assert "while deploying worker pool an unknown resource in 12," in sentence(job, NOON)
    assert "while deploying an unknown resource," in sentence(with_fields(made, deploys=()), NOON)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "just now"), (59, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (-5, "in less than a minute"), (-90000, "in 1 day")],
)  # fmt: skip
def test_times_are_told_in_their_largest_unit(seconds: int, told: str) -> None:
    assert relative_time(to_rfc3339(NOON - timedelta(seconds=seconds)), NOON) == told
    assert exact_time(to_rfc3339(NOON)) == "Wed 25 Nov 2026, 12:00:00 UTC"


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("3d", timedelta(days=3)),
        ("12h", timedelta(hours=12)),
        ("2026-11-25", timedelta(hours=12)),
        ("2026-11-25T13:00:00+02:00", timedelta(hours=1)),
    ],
)
def test_a_time_may_be_typed_in_each_usual_way(text: str, ago: timedelta) -> None:
    assert parse_moment("From", text, NOON) == NOON - ago
    assert parse_moment("From", "", NOON) is None


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0d", "3", "9999-12-31T23:59:59-23:59"])
def test_what_is_no_time_is_told_with_what_is_accepted(text: str) -> None:
    with pytest.raises(BadInput, match=r"From: .* is not a time; accepted: a date \(2026-11-24\)"):
        parse_moment("From", text, NOON)


def test_what_is_not_known_is_never_a_no() -> None:
    assert {each.answer for each in evidence_answers(Evidence())} == {"unknown"}
    assert {each.tone for each in evidence_answers(Evidence())} == {"unknown"}
    seen = {each.question: each for each in evidence_answers(Evidence(repository_exists=False, inside_organization=True, barred=True, repository_mode=None))}  # fmt: skip
    assert (seen["Does the repository exist?"].answer, seen["Does the repository exist?"].tone) == ("no", "bad")
    assert seen["Is it inside your organization?"].tone == "good"
    assert seen["Does a deny policy or an access boundary block the member?"].tone == "bad"


@pytest.mark.parametrize(("removed", "tone"), [(True, "bad"), (False, ""), (None, "unknown")])
def test_access_that_was_removed_since_the_last_deploy_opposes_the_grant(removed: bool | None, tone: str) -> None:
    answers = {each.question: each.tone for each in evidence_answers(Evidence(access_removed=removed))}
    assert answers["Was its access removed since?"] == tone


def test_a_name_breaks_behind_what_joins_it_and_stays_text() -> None:
    assert with_breaks("a@b.c/d:e <x>") == "a@<wbr>b.<wbr>c/<wbr>d:<wbr>e &lt;x&gt;"


def test_links_quote_whatever_stands_in_them() -> None:
    odd = with_fields(record(), deploys=(Deploy('p&x="', "1", "us/../..", ResourceKind.JOB, 'n"\nOR "x'),))
    found = dict(console_links(odd))
    for url in found.values():
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", "console.cloud.google.com")
        assert set(parse_qs(parts.query)) == {"project"}
    assert urlsplit(found["Job"]).path == "/run/jobs/details/us%2F..%2F../n%22%0AOR%20%22x"
    assert 'timestamp>="2026-11-23T08:00:00.123456Z"' not in unquote(found["Log entry"])  # a second around it
    assert 'timestamp>="2026-11-23T07:59:59.123456Z"' in unquote(found["Log entry"])
    assert [name for name, _ in console_links(with_fields(record(), deploys=()))] == [
        "Repository",
        "IAM of the registry project",
    ]


def test_the_same_by_hand_is_what_a_plan_prints() -> None:
    gcloud, terraform = (text for _, text in manual_commands(record()))
    assert gcloud.startswith("gcloud artifacts repositories add-iam-policy-binding containers --project=images")
    assert 'resource "google_artifact_registry_repository_iam_member"' in terraform
    assert "import {" in terraform
    assert manual_commands(with_fields(record(), repository="odd")) == []


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_a_file_is_a_formula(cell: str) -> None:
    row = csv_text(("a",), [(cell,)]).splitlines()[1]
    assert row.lstrip('"').startswith(("'", "\N{REPLACEMENT CHARACTER}"))


@pytest.mark.parametrize("text", ["", "x", "2026-11-25T12:00:00Z", "2026-11-25T12:00:00Z~", "2026-11-25~a/b", "2026-11-25~r-1~x", "~~"])  # fmt: skip
def test_an_address_that_marks_no_place_begins_at_the_beginning(text: str) -> None:
    assert parse_mark(text) is None
    mark = parse_mark("2026-11-25T12:00:00Z~r-1~3")
    assert mark is not None
    assert format_mark(mark) == "2026-11-25T12:00:00Z~r-1~3"


def test_the_troubleshooter_is_linked_by_host_and_path_alone() -> None:
    link = "https://console.cloud.google.com/iam-admin/troubleshooter/summary;errorId=x"
    assert dict(console_links(with_fields(record(), troubleshooter=link)))["Policy Troubleshooter"] == link
    assert "Policy Troubleshooter" not in dict(
        console_links(with_fields(record(), troubleshooter="https://evil.example/"))
    )
