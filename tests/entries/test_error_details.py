"""What the details of a status say fills what the text leaves out, and has to agree with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given

from remediate.decisions.policy import Outcome, decide
from remediate.entries.denial import Denial, NotADenial
from remediate.entries.error_details import troubleshooter_link
from remediate.reasons import Reason
from tests.audit_entries import IMAGE, REPOSITORY, activity, bare_text, denial, understood, user_text
from tests.entries.strategies import json_values

READ = "artifactregistry.repositories.downloadArtifacts"
OTHER = "projects/shop-frontend/locations/us/repositories/other"
LINK = "https://console.cloud.google.com/iam-admin/troubleshooter/summary;errorId=CiQw%3D%3D"


def info(
    permission: str | None = READ,
    resource: str | None = REPOSITORY,
    domain: str = "artifactregistry.googleapis.com",
    reason: str = "IAM_PERMISSION_DENIED",
) -> dict[str, Any]:
    metadata = {name: value for name, value in (("permission", permission), ("resource", resource)) if value}
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": metadata,
    }


def detailed(text: str, *details: object, images: tuple[str, ...] = (IMAGE,)) -> dict[str, Any]:
    entry = activity(text, images=images)
    entry["protoPayload"]["status"]["details"] = list(details)
    return entry


@pytest.mark.parametrize("prefix", ["", "//artifactregistry.googleapis.com/"])
def test_the_details_name_the_repository_that_the_text_leaves_out(prefix: str) -> None:
    found = denial(detailed(bare_text(None), info(resource=prefix + REPOSITORY), images=()))
    assert (str(found.repository), found.doubts, found.image_confirmed) == (REPOSITORY, (), False)
    assert denial(detailed(bare_text(None), info())).image_confirmed


@pytest.mark.parametrize(
    ("text", "detail", "doubt"),
    [
        (user_text(), info(resource=OTHER), Reason.IMAGE_MISMATCH),
        (bare_text(), info(resource=OTHER), Reason.IMAGE_MISMATCH),
        (bare_text(None), info(resource=OTHER), Reason.IMAGE_MISMATCH),
        (user_text(), info(permission="run.services.update"), Reason.DETAILS_MISMATCH),
        (user_text(), info(domain="secretmanager.googleapis.com"), Reason.DETAILS_MISMATCH),
        (user_text(), info(resource="projects/p/secrets/s"), Reason.DETAILS_MISMATCH),
        (user_text(), info(reason="SOMETHING_NEW"), Reason.DETAILS_MISMATCH),
        ("The caller does not have permission", info(), Reason.UNUSUAL_WORDING),
    ],
)
def test_details_that_say_something_else_are_a_doubt(text: str, detail: dict[str, Any], doubt: Reason) -> None:
    found = denial(detailed(text, detail))
    assert doubt in found.doubts
    assert decide(found).outcome is Outcome.ASK


def test_details_that_agree_are_no_doubt() -> None:
    for text in (user_text(), bare_text(), bare_text(None)):
        assert denial(detailed(text, info(), info(permission=None, resource=None))).doubts == ()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("SERVICE_DISABLED", Reason.REGISTRY_API_DISABLED),
        ("BILLING_DISABLED", Reason.REGISTRY_BILLING),
        ("RATE_LIMIT_EXCEEDED", Reason.REGISTRY_BUSY),
        ("CUSTOM_ORG_POLICY_VIOLATION", Reason.REGISTRY_POLICY),
    ],
)
def test_a_cause_in_the_details_decides(reason: str, code: Reason) -> None:
    found = understood(detailed(user_text(), info(permission=None, resource=None, reason=reason)))
    assert isinstance(found, NotADenial)
    assert found.reason is code


def test_details_of_another_error_make_no_denial_of_it() -> None:
    text = "Permission 'iam.serviceaccounts.actAs' denied on service account x"
    found = understood(detailed(text, info()))
    assert isinstance(found, NotADenial)
    assert found.reason is Reason.ACT_AS


@given(json_values)
def test_any_details_get_an_answer_and_none_makes_a_grant_of_an_ignored_text(value: Any) -> None:
    entry = activity("The user-provided container failed to start.")
    entry["protoPayload"]["status"]["details"] = value
    assume("Infinity" not in json.dumps(value))
    assert isinstance(understood(entry), NotADenial)
    entry["protoPayload"]["status"]["message"] = user_text()
    assert isinstance(understood(entry), Denial | NotADenial)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        (f"administrator - {LINK} .", LINK),
        (f"see {LINK}.", LINK),
        (f"see {LINK}?utm_source=x#y", LINK),
        ("see https://console.cloud.google.com/iam-admin/troubleshooter", "https://console.cloud.google.com/iam-admin/troubleshooter"),
        ("https://console.cloud.google.com/iam-admin/troubleshooters/x", None),
        ("https://console.cloud.google.com.evil.example/iam-admin/troubleshooter", None),
        ("https://console.cloud.google.com@evil.example/iam-admin/troubleshooter", None),
        ("http://console.cloud.google.com/iam-admin/troubleshooter", None),
        ("https://console.cloud.google.com:8443/iam-admin/troubleshooter", None),
        ("https://console.cloud.google.com/iam-admin/../troubleshooter", None),
        ("javascript:https://console.cloud.google.com/logs", None),
        ('https://console.cloud.google.com/iam-admin/troubleshooter/"onclick=x', "https://console.cloud.google.com/iam-admin/troubleshooter/"),
        ("", None),
    ],
)  # fmt: skip
def test_a_troubleshooter_link_is_checked_by_host_and_path(text: str, link: str | None) -> None:
    assert troubleshooter_link(text) == link


def test_a_troubleshooter_link_is_kept_from_text_or_details() -> None:
    assert denial(activity(f"{bare_text()} To troubleshoot this error, see {LINK}.")).troubleshooter == LINK
    helped = {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "x", "url": LINK}]}
    found = denial(detailed(bare_text(), helped))
    assert (found.troubleshooter, found.doubts) == (LINK, ())
