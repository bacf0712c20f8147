"""A text is known as a whole, or it is asked: nothing that a caller typed into another error is ever granted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediate.decisions.policy import Outcome, decide
from remediate.decisions.policy_file import parse_policy
from remediate.entries.denial import NotADenial, Reader
from remediate.entries.error_text import ImageDenied, read_text
from remediate.reasons import Reason
from tests.audit_entries import (
    AGENT,
    IMAGE,
    NUMBER,
    PROJECT,
    activity,
    agent_text,
    bare_text,
    denial,
    system_event,
    understood,
    user_text,
)
from tests.other_errors import OTHER_ERRORS
from tests.policies import INSIDE

OWN = f"asia-northeast1-docker.pkg.dev/{PROJECT}/app/web:v2"
RESOURCE = f"projects/{PROJECT}/locations/asia-northeast1/repositories/app"
WORDINGS = (
    user_text(OWN),
    f"User must have permission to read the image, {OWN}.",
    agent_text(OWN),
    f"{AGENT} must have permission to read the image, {OWN}",
    bare_text(RESOURCE),
    bare_text(RESOURCE, quote="'").rstrip("."),
    bare_text(None),
    "Permission 'artifactregistry.repositories.downloadArtifacts' denied",
    user_text(OWN, tail=f'\n Cause: 403 Forbidden\nGET https://x/v2/y\n{{"errors":[{{"code":"DENIED","message":"{bare_text(RESOURCE)}"}}]}}\n'),
)  # fmt: skip


EVERYTHING = parse_policy("rules: [{name: all, when: 'true', then: grant}]", "everything.yaml")


def _granted(entry: dict[str, Any]) -> bool:
    """Whether even the widest rule would grant it."""
    return decide(understood(entry), INSIDE, EVERYTHING).outcome is Outcome.GRANT


@pytest.mark.parametrize("template", OTHER_ERRORS)
def test_our_words_in_the_hole_of_another_error_are_never_granted(template: str) -> None:
    for words in WORDINGS:
        wrapped = words.replace(" ", "\n", 3)
        for typed in (words, wrapped, f"x\n{words}", f"'{words}'", json.dumps(words), words.replace("'", "’")):
            text = template.format(typed)
            said = read_text(text)
            assert said is None or isinstance(said, Reason) or said.unusual, text
            for code in (7, 9, 13):
                for images in ((OWN,), ()):
                    assert not _granted(activity(text, images=images, code=code)), text
            assert not _granted(system_event(text, images=(OWN,), code=9)), text


def test_the_same_words_alone_are_granted() -> None:
    assert all(
        _granted(activity(words, images=(OWN,))) for words in WORDINGS if not words.startswith(("Google", AGENT))
    )


def test_there_are_enough_other_errors() -> None:
    assert len(set(OTHER_ERRORS)) >= 46


@pytest.mark.parametrize("template", OTHER_ERRORS)
def test_each_other_error_alone_is_ignored(template: str) -> None:
    found = understood(activity(template.format("web"), images=(OWN,)))
    assert isinstance(found, NotADenial)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("Permission 'run.services.update' denied on resource 'namespaces/p/services/{}'", Reason.RUN_PERMISSION),
        ("Permission 'iam.serviceaccounts.actAs' denied on service account {} (or it may not exist).", Reason.ACT_AS),
        ("Permission denied on secret: projects/1/secrets/{}/versions/1 for x.", Reason.SECRET_MANAGER),
        ("Permission 'vpcaccess.connectors.use' denied on resource '{}'", Reason.OTHER_PERMISSION),
        ('Operation denied by custom org policies: ["customConstraints/custom.x": "{}"].', Reason.ORGANIZATION_POLICY),
        ("Expected an image path like [host/]repo-path but obtained {}", Reason.UNSUPPORTED_REGISTRY),
    ],
)
def test_an_echo_is_a_look_alike_by_the_name_of_the_error_around_it(template: str, reason: Reason) -> None:
    for words in WORDINGS:
        assert read_text(template.format(words)) is reason


KNOWN = (
    user_text(OWN),
    f"Revision 'web-00002-abc' is not ready and cannot serve traffic. {user_text(OWN)}",
    f"Ready condition status changed to False for Revision web-00002-abc with message: {user_text(OWN)}",
    f"Running condition status changed to False for Instance runner-1 with message: {user_text(OWN)}",
    user_text(OWN, tail=" Note that the image is from project [a], which is not the same as this project [b]."),
    user_text(OWN, tail=" Note that a/web is not in project b. Permission must be granted to the User from this project."),
    user_text(OWN, tail=" See https://cloud.google.com/run/docs/deploying#other-projects"),
    user_text(OWN, tail=" See https://docs.cloud.google.com/run/docs/troubleshooting#image ."),
    user_text(OWN, tail=" Help Token: AVSZLk1_abcdefghijk-x"),
    user_text(OWN, tail="\n Cause: 403 Forbidden\nGET https://asia-northeast1-docker.pkg.dev/v2/a/b/manifests/v2"),
    bare_text(RESOURCE) + " Help Token: AVSZLk1abcdef",
    bare_text(RESOURCE) + " Remediate access with this Troubleshooter URL or share it with your\nadministrator -"
    " https://console.cloud.google.com/iam-admin/troubleshooter/summary;errorId=CiQw%3D%3D .",
    bare_text(RESOURCE) + " To troubleshoot this error, see"
    " https://console.cloud.google.com/iam-admin/troubleshooter;permissions=a.b;principal=a@b.com;resources=%2F%2Fx/result",
    "Permission 'artifactregistry.repositories.downloadArtifacts' denied",
    "Permission 'artifactregistry.repositories.downloadArtifacts' denied.",
)  # fmt: skip


@pytest.mark.parametrize("text", KNOWN)
def test_known_prefixes_and_tails_are_known_wrapped_or_not(text: str) -> None:
    for wrapped in (
        text,
        text.replace(". ", ".\n"),
        text.replace(" ", "  "),
        text + "\n",
        text.replace(" the ", "\n  the "),
    ):
        said = read_text(wrapped)
        assert isinstance(said, ImageDenied)
        assert not said.unusual, wrapped


@pytest.mark.parametrize("text", KNOWN)
@pytest.mark.parametrize(
    "junk",
    ["X: {}", "Unknown thing: {}", "{} And something else.", "{} x", "{}; {}", "Note that: {}", "{}\ufeff", "\u200b{}",
     "{} Cause: 403 Forbidden GET https://x/y nothing", "{} See https://evil.example/cloud.google.com/", "{}{}",
     "{} Remediate access at https://console.cloud.google.com.evil.example/iam-admin/troubleshooter",
     "Revision 'web 1' is not ready and cannot serve traffic. {}",
     "Revision 'web' and more is not ready and cannot serve traffic. {}"],
)  # fmt: skip
def test_anything_else_around_a_known_text_is_asked_and_still_read(text: str, junk: str) -> None:
    said = read_text(junk.format(text, text))
    assert isinstance(said, ImageDenied)
    assert said.unusual
    assert said.reader is Reader.DEPLOYER
    found = denial(activity(junk.format(text, text), images=(OWN,)))
    assert Reason.UNUSUAL_WORDING in found.doubts
    assert str(found.repository) == RESOURCE
    assert decide(found).outcome is Outcome.ASK


@given(
    st.sampled_from(OTHER_ERRORS),
    st.sampled_from(WORDINGS),
    st.text(max_size=20),
    st.text(max_size=20),
    st.sampled_from([7, 9, 13]),
)
def test_whatever_is_typed_around_our_words_is_never_granted(
    template: str, words: str, before: str, after: str, code: int
) -> None:
    assert not _granted(activity(template.format(before + words + after), images=(OWN,), code=code))


_TYPED = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters=" \t\r\n"), min_size=1, max_size=60
)


@given(_TYPED, st.sampled_from(WORDINGS), st.sampled_from(["\\n", "\u00a0", "\u2003", ".", "\u2028", "\x0b", ""]))
def test_an_image_that_holds_a_sentence_names_no_second_repository(typed: str, words: str, gap: str) -> None:
    image = typed + gap + words.replace(" ", gap or "_")
    for text in (user_text(image), agent_text(image), f"User must have permission to read the image, '{image}'."):
        said = read_text(text)
        assert said is None or isinstance(said, Reason) or said.unusual or not said.also
        assert not _granted(activity(text, images=(image,)))


def test_a_name_in_a_known_prefix_cannot_end_it() -> None:
    for name in (f"x' is not ready and cannot serve traffic. {user_text(OWN)} '", f"x with message: {user_text(OWN)}"):
        for text in (
            f"Revision '{name}' is not ready and cannot serve traffic. {user_text('us-docker.pkg.dev/p/r/i')}",
            f"Ready condition status changed to False for Revision {name} with message: Image 'x' not found.",
        ):
            assert not _granted(activity(text, images=(OWN,)))


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        ("403 Forbidden", "Org Policy Violated: 'us' violates constraint 'constraints/gcp.resourceLocations'", Reason.REGISTRY_POLICY),
        ("403 Forbidden", "Denied by organization policy", Reason.REGISTRY_POLICY),
        ("403 Forbidden", "Artifact Registry API has not been used in project 1 before or it is disabled. Enable it by visiting https://x", Reason.REGISTRY_API_DISABLED),
        ("403 Forbidden", "This API method requires billing to be enabled. Please enable billing on project #1", Reason.REGISTRY_BILLING),
        ("403 Forbidden", "The billing account for the owning project is disabled in state absent", Reason.REGISTRY_BILLING),
        ("412 Precondition Failed", "Container Registry is deprecated and shutting down, please use the auto migration tool", Reason.REGISTRY_SHUT_DOWN),
        ("403 Forbidden", "Container Registry has been shut down. Use Artifact Registry instead.", Reason.REGISTRY_SHUT_DOWN),
        ("429 Too Many Requests", "Quota exceeded for quota metric 'Requests'", Reason.REGISTRY_BUSY),
        ("503 Service Unavailable", "try again", Reason.REGISTRY_BUSY),
        ("500 Internal Server Error", "", Reason.REGISTRY_BUSY),
        ("502 Bad Gateway", "<html>", Reason.REGISTRY_BUSY),
        ("401 Unauthorized", "Unauthenticated request.", Reason.REGISTRY_UNAUTHENTICATED),
        ("404 Not Found", "Failed to fetch \\\"v2\\\"", Reason.IMAGE_NOT_FOUND),
    ],
)  # fmt: skip
def test_the_cause_that_the_registry_gives_decides(status: str, message: str, reason: Reason) -> None:
    cause = f'\n Cause: {status}\nGET https://us.gcr.io/v2/p/api/manifests/3\n{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}\n'
    for text in (user_text(OWN, tail=cause), agent_text(OWN) + cause, user_text(OWN, tail=cause.replace('"', '\\"'))):
        found = understood(activity(text, images=(OWN,)))
        assert isinstance(found, NotADenial)
        assert found.reason is reason


def test_a_cause_that_is_not_known_is_asked() -> None:
    cause = (
        '\n Cause: 403 Forbidden\nGET https://us.gcr.io/v2/p\n{"errors":[{"code":"DENIED","message":"Something new"}]}'
    )
    assert denial(activity(user_text(OWN, tail=cause), images=(OWN,))).doubts == (Reason.UNUSUAL_WORDING,)


def test_a_hint_about_apis_or_billing_is_no_cause() -> None:
    said = read_text(user_text(OWN, tail=" Make sure that billing is enabled."))
    assert isinstance(said, ImageDenied)
    assert said.unusual


@pytest.mark.parametrize(
    "text",
    [
        "Artifact Registry API has not been used in project 1 before or it is disabled.",
        "Container Registry is deprecated and shutting down, please use the auto migration tool",
    ],
)
def test_the_registrys_cause_alone_is_named_too(text: str) -> None:
    assert isinstance(read_text(text), Reason)


def test_the_service_agents_address_alone_is_the_service_agent() -> None:
    found = denial(system_event(f"{AGENT} must have permission to read the image, {IMAGE}."))
    assert (found.reader, str(found.member), found.doubts) == (Reader.SERVICE_AGENT, f"serviceAccount:{AGENT}", ())
    other = AGENT.replace(NUMBER, "999")
    assert (
        Reason.MEMBER_MISMATCH
        in denial(system_event(f"{other} must have permission to read the image, {IMAGE}.")).doubts
    )


@pytest.mark.parametrize("who", ["ana@example.com", "User ana@example.com", "User [ana@example.com]"])
def test_an_address_that_is_not_the_callers_is_a_doubt(who: str) -> None:
    text = f"{who} must have permission to read the image, {OWN}."
    assert denial(activity(text, images=(OWN,))).doubts == (Reason.MEMBER_MISMATCH,)
    assert denial(activity(text, images=(OWN,), email="ana@example.com")).doubts == ()


def test_two_sentences_deny_two_repositories() -> None:
    both = f"Revision 'web-1' is not ready and cannot serve traffic. {agent_text()}\n{agent_text(OWN)}"
    found = denial(system_event(both, images=(IMAGE, OWN)))
    assert [str(each) for each in found.others] == [RESOURCE]
    assert (found.doubts, found.image_confirmed) == ((), True)
    assert Reason.IMAGE_MISMATCH in denial(system_event(both, images=(IMAGE,))).doubts
    one, two = bare_text(), bare_text(RESOURCE)
    assert [str(each) for each in denial(activity(f"{one} {two}", images=(IMAGE, OWN))).others] == [RESOURCE]
    mixed = denial(activity(f"{user_text()} {agent_text(OWN)}", images=(IMAGE, OWN)))
    assert Reason.UNUSUAL_WORDING in mixed.doubts


def test_the_registrys_words_of_a_system_event_name_nobody() -> None:
    found = denial(system_event(bare_text(), annotations={"serving.knative.dev/creator": "ana@example.com"}))
    assert (found.reader, found.member) == (None, None)
    assert Reason.READER_UNKNOWN in found.doubts
    assert str(found.deployer) == "user:ana@example.com"


SLOW = (
    "User ", "Revision 'a' is not ready. ", "ERROR: ", "a@", "Permission ", "Permission '", "Cause: ", "{", "\\", "\\n",
    user_text(), bare_text(None) + " ", "must have permission ", "User must have permission to read the image, x. ",
    "See https://cloud.google.com/a ", "Image ", "API ", "billing ", "Container Registry is ", " ", "\n", '"', "Cause: \\n",
    "Note that the image is from project [", "Permission must be granted to the User ", "Note that a is not in project b. ",
    "denied on resource '", "https://console.cloud.google.com/iam-admin/troubleshooter;",
)  # fmt: skip


@pytest.mark.parametrize("piece", SLOW)
def test_a_text_that_is_made_to_be_slow_is_not(piece: str) -> None:
    for text in (piece * (65_536 // len(piece)), user_text(OWN) + " " + piece * (60_000 // len(piece)) + "!"):
        took = []
        for _ in range(3):
            before = time.process_time()
            read_text(text)
            took.append(time.process_time() - before)
        assert min(took) < 0.25, piece  # seconds; about a tenth of it where nothing else runs
