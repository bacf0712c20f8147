"""The environment is read once; a bad value is told by name, value and what is accepted, all at once."""

from __future__ import annotations

import re

import pytest

from remediate.errors import BadInput
from remediate.policy import Mode
from remediate.settings import Settings, load_settings
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
            "REMEDIATE_LAPSE_DAYS": "3",
            "REMEDIATE_HOLD_DAYS": "90",
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
        lapse_days=3,
        hold_days=90,
        endpoints={"LOGGING": "http://127.0.0.1:1"},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REMEDIATE_MODE", "Enforce"),
        ("REMEDIATE_LEDGER", "ledger.db"),
        ("REMEDIATE_ORGANIZATION", "example.com"),
        ("REMEDIATE_REVIEWERS", "ana"),
        ("REMEDIATE_REVIEWERS", "ana@example.com;bo@example.com"),
        ("REMEDIATE_TIMEOUT", "soon"),
        ("REMEDIATE_TIMEOUT", "0"),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", "localhost:1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_accepted(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{name}='{re.escape(value)}': expected "):
        load_settings({name: value})


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(BadInput) as told:
        load_settings({"REMEDIATE_MODE": "x", "REMEDIATE_TIMEOUT": "x", "REMEDIATE_POLICY": "s3://x"})
    assert all(name in str(told.value) for name in ("REMEDIATE_MODE", "REMEDIATE_TIMEOUT", "REMEDIATE_POLICY"))


def test_a_misspelt_variable_is_never_ignored() -> None:
    with pytest.raises(
        BadInput, match=r"REMEDIATE_ORGANISATION is no setting .* did you mean REMEDIATE_ORGANIZATION\?"
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
