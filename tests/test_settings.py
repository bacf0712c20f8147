"""The environment is read once; a bad value is told by name, value and what is accepted, all at once."""

from __future__ import annotations

import re

import pytest

from remediate.decisions.policy import Mode
from remediate.errors import BadInput
from remediate.settings import _VARIABLES, Settings, load_settings, names_from
from tests.sandbox_fixture import ROOT


def test_an_empty_environment_is_dry_run() -> None:
    assert load_settings({}) == Settings()
    assert Settings().mode is None  # the switches decide, and without any it is dry-run


def test_every_setting_is_read() -> None:
    settings = load_settings(
        {
            "REMEDIATE_MODE": "enforce",
            "REMEDIATE_LEDGER": "sqlite:////var/lib/ledger.db",
            "REMEDIATE_ORGANIZATION": "organizations/123",
            "REMEDIATE_REVIEWERS": "Ana@example.com, @example.org,team.example.net",
            "REMEDIATE_TIMEOUT": "2.5",
            "REMEDIATE_LOOKUPS_A_MINUTE": "12",
            "REMEDIATE_LOG_VIEW": "projects/remediate-ops/locations/europe-west1/buckets/kept/views/kept",
            "REMEDIATE_LAPSE_DAYS": "3",
            "REMEDIATE_HOLD_DAYS": "90",
            "REMEDIATE_DOMAINS": "Example.com, @example.org",
            "REMEDIATE_WORKFORCE_POOLS": "staff,partners",
            "REMEDIATE_GRANT_DAYS": "30",
            "REMEDIATE_OPT_IN_TAG": "tagValues/1,tagValues/2",
            "REMEDIATE_NOTIFY_TOPIC": "projects/platform-tools/topics/notices",
            "REMEDIATE_SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/B0/x",
            "REMEDIATE_CHAT_WEBHOOK": "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t",
            "REMEDIATE_REVIEW_URL": "https://review.example.com/",
            "PUBSUB_EMULATOR_HOST": "127.0.0.1:8085",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": "http://127.0.0.1:1/",
            "UNRELATED": "x",
        }
    )
    assert settings == Settings(
        mode=Mode.ENFORCE,
        ledger="sqlite:////var/lib/ledger.db",
        organization="123",
        reviewers=("user:ana@example.com", "example.org", "team.example.net"),
        timeout=2.5,
        lookups_a_minute=12,
        log_view="projects/remediate-ops/locations/europe-west1/buckets/kept/views/kept",
        lapse_days=3,
        hold_days=90,
        domains=("example.com", "example.org"),
        workforce_pools=("staff", "partners"),
        grant_days=30,
        opt_in_tag="tagValues/1,tagValues/2",
        notify_topic="projects/platform-tools/topics/notices",
        slack_webhook="https://hooks.slack.com/services/T0/B0/x",
        chat_webhook="https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t",
        review_url="https://review.example.com",
        endpoints={"LOGGING": "http://127.0.0.1:1", "PUBSUB": "http://127.0.0.1:8085"},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REMEDIATE_MODE", "Enforce"),
        ("REMEDIATE_LEDGER", "ledger.db"),
        ("REMEDIATE_ORGANIZATION", "example.com"),
        ("REMEDIATE_DOMAINS", "ana@example.com"),
        ("REMEDIATE_DOMAINS", "*.example.com"),
        ("REMEDIATE_WORKFORCE_POOLS", "locations/global/workforcePools/staff"),
        ("REMEDIATE_GRANT_DAYS", "0"),
        ("REMEDIATE_GRANT_DAYS", "nan"),
        ("REMEDIATE_OPT_IN_TAG", "tagValues/1,tagValues/2,tagValues/3"),
        ("REMEDIATE_OPT_IN_TAG", "tagValues/1,4/key/yes"),
        ("REMEDIATE_REVIEWERS", "ana"),
        ("REMEDIATE_REVIEWERS", "ana@example.com;bo@example.com"),
        ("REMEDIATE_TIMEOUT", "soon"),
        ("REMEDIATE_TIMEOUT", "0"),
        ("REMEDIATE_LOOKUPS_A_MINUTE", "0"),
        ("REMEDIATE_LOOKUPS_A_MINUTE", "61"),
        ("REMEDIATE_LOOKUPS_A_MINUTE", "12.5"),
        ("REMEDIATE_NOTIFY_TOPIC", "notices"),
        ("REMEDIATE_NOTIFY_TOPIC", "projects/p/subscriptions/s"),
        ("REMEDIATE_REVIEW_URL", "http://review.example.com"),
        ("REMEDIATE_REVIEW_URL", "review.example.com"),
        ("REMEDIATE_REVIEW_URL", "https://review.example.com/?q=x"),
        ("REMEDIATE_REVIEW_URL", "https://review.example.com/|<!channel>"),
        ("PUBSUB_EMULATOR_HOST", "http://localhost:1"),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", "localhost:1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_accepted(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{name}='{re.escape(value)}': expected "):
        load_settings({name: value})


@pytest.mark.parametrize("name", ["REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK"])
@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "https://evil.example/hunter2",
        "https://hooks.slack.com.evil.example/hunter2",
        "https://hooks.slack.com@evil.example/hunter2",
        "https://user:hunter2@hooks.slack.com/x",
        "http://hooks.slack.com/hunter2",
        "https://hooks.slack.com:port/hunter2",
        "https://[hunter2",
        "http://169.254.169.254/hunter2",
        "https://hooks.slack.com/\u2028hunter2",
    ],
)
def test_a_webhook_is_of_its_service_or_of_this_machine_and_never_shown(name: str, value: str) -> None:
    with pytest.raises(BadInput) as told:
        load_settings({name: value})
    assert f"{name}=...: expected https://" in str(told.value)
    assert "hunter2" not in str(told.value) + told.value.advice


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_a_webhook_and_the_pages_may_be_on_this_machine_to_try_them_out(host: str) -> None:
    address = f"http://{host}/x"
    names = ("REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK", "REMEDIATE_REVIEW_URL")
    settings = load_settings(dict.fromkeys(names, address))
    assert (settings.slack_webhook, settings.chat_webhook, settings.review_url) == (address,) * 3


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(BadInput) as told:
        load_settings({"REMEDIATE_MODE": "x", "REMEDIATE_TIMEOUT": "x", "REMEDIATE_POLICY": "s3://x"})
    assert all(name in str(told.value) for name in ("REMEDIATE_MODE", "REMEDIATE_TIMEOUT", "REMEDIATE_POLICY"))


def test_a_misspelt_variable_is_never_ignored() -> None:
    with pytest.raises(
        BadInput, match=r"unknown setting REMEDIATE_ORGANISATION: did you mean REMEDIATE_ORGANIZATION\?"
    ):
        load_settings({"REMEDIATE_ORGANISATION": "1"})


def test_a_ledger_that_would_be_lost_is_not_taken_silently() -> None:
    with pytest.raises(BadInput, match="REMEDIATE_LEDGER is not set"):
        load_settings({"K_SERVICE": "remediate"})


def test_every_setting_is_documented() -> None:
    code = (ROOT / "remediate" / "settings.py").read_text()
    documented = (ROOT / "docs" / "settings.md").read_text()
    for name in {*re.findall(r"\"(REMEDIATE_[A-Z_]+)\"", code), "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"}:
        assert f"| `{name}` |" in documented, name


def test_every_field_but_the_endpoints_has_its_variable() -> None:
    assert set(_VARIABLES) == set(Settings.__struct_fields__) - {"endpoints"}


def test_a_misspelt_name_is_compared_without_what_all_names_have_in_common() -> None:
    with pytest.raises(BadInput, match="did you mean REMEDIATE_DOMAINS"):
        names_from({"REMEDIATE_DOMAIN": "example.com"})
    with pytest.raises(BadInput, match="unknown setting REMEDIATE_ZZZQ: expected one of REMEDIATE_MODE"):
        load_settings({"REMEDIATE_ZZZQ": "x"})
    with pytest.raises(BadInput, match="REMEDIATE_DOMAINS='a b': expected domains, separated by commas"):
        names_from({"REMEDIATE_DOMAINS": "a b"})
