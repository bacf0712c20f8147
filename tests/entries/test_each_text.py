"""Each pattern of a known error, in any case; and every part of a denial's text that is not known as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from remediate.entries.error_text import ImageDenied, Reader, read_text
from remediate.iam.repository import Repository
from remediate.reasons import Reason

IMAGE = "us-docker.pkg.dev/p/r/i:v1"
READ = f"must have permission to read the image, {IMAGE}"
AGENT = "service-1@serverless-robot-prod.iam.gserviceaccount.com"
DOWNLOAD = 'Permission "artifactregistry.repositories.downloadArtifacts" denied'
ON = "on resource"
R = "projects/p/locations/us/repositories/r"
REPOSITORY = Repository("p", "us", "r")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("vpcServiceControlsUniqueIdentifier: abc", Reason.VPC_SERVICE_CONTROLS),
        ("Request was stopped by VPC Service Controls", Reason.VPC_SERVICE_CONTROLS),
        ("Request is prohibited by organization's policy.", Reason.VPC_SERVICE_CONTROLS),
        ("The image is not authorized by policy", Reason.BINARY_AUTHORIZATION),
        ("Denied by Binary Authorization", Reason.BINARY_AUTHORIZATION),
        ("Image denied by attestor projects/p/attestors/a", Reason.BINARY_AUTHORIZATION),
        ("Expected an image path like [host/]repo-path", Reason.UNSUPPORTED_REGISTRY),
        ("Blocked by an organization policy", Reason.ORGANIZATION_POLICY),
        ("Blocked by org's policies", Reason.ORGANIZATION_POLICY),
        ("Violates constraints/run.allowedIngress", Reason.ORGANIZATION_POLICY),
        ("Violates customConstraints/custom.x", Reason.ORGANIZATION_POLICY),
        ("Image 'a/b:c' not found.", Reason.IMAGE_NOT_FOUND),
        ("Image a/b:c was not found", Reason.IMAGE_NOT_FOUND),
        ("MANIFEST_UNKNOWN: no such manifest", Reason.IMAGE_NOT_FOUND),
        ("Cannot get access tokens for x", Reason.ACCESS_TOKEN),
        ("iam.serviceAccounts.getAccessToken is missing", Reason.ACCESS_TOKEN),
        ("iam.serviceaccounts.actAs is missing", Reason.ACT_AS),
        ("Permission denied on secret: x", Reason.SECRET_MANAGER),
        ("secretmanager.versions.access is missing", Reason.SECRET_MANAGER),
        ("Cloud KMS key is disabled", Reason.KMS),
        ("cloudkms.cryptoKeys.use is missing", Reason.KMS),
        ("The EncryptionKey is gone", Reason.KMS),
        ("The CMEK is gone", Reason.KMS),
        ("repositories.uploadArtifacts is missing", Reason.UPLOAD_ARTIFACTS),
        ("Permission 'run.services.get' is missing", Reason.RUN_PERMISSION),
        ("Permission 'vpcaccess.connectors.use' denied", Reason.OTHER_PERMISSION),
        ("x does not have permission to access namespaces instance y", Reason.RUN_PERMISSION),
        ("PERMISSION_DENIED", Reason.OTHER_PERMISSION),
        ("Permission denied", Reason.OTHER_PERMISSION),
        ("Permission to do this denied", Reason.OTHER_PERMISSION),
        ("You do not have permission", Reason.OTHER_PERMISSION),
        ("It is a teapot", None),
    ],
)
def test_a_known_error_is_known_in_any_case(text: str, reason: Reason | None) -> None:
    assert read_text(text) is reason
    assert read_text(f"Failed: {text.lower()} and so on") is reason
    assert read_text(f"Failed: {text.upper()} and so on") is reason


def unusual(reader: Reader | None, *addresses: str, image: str | None = IMAGE, **more: Any) -> ImageDenied:
    return ImageDenied(reader, addresses, image, unusual=True, **more)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Oops: User ana@example.com {READ}. Odd.", unusual(Reader.DEPLOYER, "ana@example.com")),
        (f"Oops: User {READ}. Odd.", unusual(Reader.DEPLOYER)),
        (f"Odd! Google Cloud Run Service Agent {AGENT} {READ}. Odd.", unusual(Reader.SERVICE_AGENT, AGENT)),
        (f"Odd! Google Cloud Run Service Agent {READ}. Odd.", unusual(Reader.SERVICE_AGENT)),
        (f"Odd {AGENT} {READ}. Odd.", unusual(Reader.SERVICE_AGENT, AGENT)),
        (f"Odd Something {READ}. Odd.", unusual(None)),
        (f"Odd User must have permission to read the image [{IMAGE}].,; odd", unusual(Reader.DEPLOYER)),
        ("Odd User must have permission to read the image", unusual(Reader.DEPLOYER, image=None)),
        ("Odd User must have permission to read the image ...", unusual(Reader.DEPLOYER, image=None)),
        (
            f'Odd User {READ} {DOWNLOAD} {ON} "{R}" and {ON} "{R}" odd',
            unusual(Reader.DEPLOYER, repositories=(REPOSITORY,)),
        ),
        (f'Odd User {READ} {DOWNLOAD} {ON} "//x" odd', unusual(Reader.DEPLOYER, unread=True)),
        (
            f"Odd User does not have access to the image {IMAGE}. Odd.",
            unusual(Reader.DEPLOYER, is_warning=True),
        ),
        (f"Odd User does not have access to image {IMAGE}", unusual(Reader.DEPLOYER, is_warning=True)),
        (
            f'Odd User does not have access to the image {IMAGE}; {DOWNLOAD} {ON} "{R}"',
            unusual(Reader.DEPLOYER, is_warning=True, repositories=(REPOSITORY,)),
        ),
        (
            f'Odd User does not have access to the image {IMAGE}; {DOWNLOAD} {ON} "//x"',
            unusual(Reader.DEPLOYER, is_warning=True, unread=True),
        ),
        (
            f'Odd {DOWNLOAD} {ON} "{R}" (or it may not exist) odd',
            unusual(Reader.DEPLOYER, image=None, repositories=(REPOSITORY,), registry_message_only=True),
        ),
        (
            f'Odd {DOWNLOAD} {ON} "//x" odd',
            unusual(Reader.DEPLOYER, image=None, unread=True, registry_message_only=True),
        ),
        (
            f'Odd Service Agent {AGENT}: {DOWNLOAD} {ON} "{R}" odd',
            unusual(Reader.SERVICE_AGENT, AGENT, image=None, repositories=(REPOSITORY,)),
        ),
    ],
)
def test_what_an_unusual_text_says_is_read_in_any_case_of_its_words(text: str, said: ImageDenied) -> None:
    assert read_text(text) == said
    for words in (
        "User",
        "Service Agent",
        "must have permission to read the image",
        "does not have access to",
        "Permission",
    ):
        assert read_text(text.replace(words, words.upper())) == said


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (". Cause: 404 Not Found odd", Reason.IMAGE_NOT_FOUND),
        ('. Odd {"errors": [{"code":"MANIFEST_UNKNOWN"}]}', Reason.IMAGE_NOT_FOUND),
        (". Odd GET https://us-docker.pkg.dev/v2/x: 429 Too Many Requests", Reason.REGISTRY_BUSY),
        (". Odd HEAD https://us-docker.pkg.dev/v2/x: 503 Service Unavailable", Reason.REGISTRY_BUSY),
    ],
)
def test_a_cause_behind_the_image_decides(after: str, reason: Reason) -> None:
    assert read_text(f"Odd User {READ}{after}") is reason
    assert isinstance(read_text(f"Odd User {READ}. Odd."), ImageDenied)


def test_a_cause_in_the_images_own_name_is_no_cause() -> None:
    image = "us-docker.pkg.dev/p/r/MANIFEST_UNKNOWN"
    said = read_text(f"Odd User must have permission to read the image, {image}. Artifact Registry says so.")
    assert said == unusual(Reader.DEPLOYER, image=image)
    assert read_text(f"Odd User {READ}. Artifact Registry says MANIFEST_UNKNOWN.") is Reason.IMAGE_NOT_FOUND


def test_a_registrys_cause_alone_decides_where_the_registry_is_named() -> None:
    assert read_text("Artifact Registry: 429 Too Many Requests") is Reason.REGISTRY_BUSY
    assert read_text("Something else: 429 Too Many Requests") is None


def test_words_of_a_permission_and_an_agent_are_read_in_any_case() -> None:
    registry = unusual(Reader.DEPLOYER, image=None, repositories=(REPOSITORY,), registry_message_only=True)
    assert read_text(f'Odd {DOWNLOAD.upper()} {ON} "{R}" odd'.replace(R.upper(), R)) == registry
    assert isinstance(read_text(f"Odd User {READ}. Cause: {DOWNLOAD.upper()}: 429 Too Many Requests"), ImageDenied)
    assert read_text(f"Odd {AGENT.upper()} {READ}") == unusual(Reader.SERVICE_AGENT, AGENT.upper())
    other = "Permission 'vpcaccess.connectors.use' denied".upper()
    assert read_text(f"{other}. Odd User {READ}") is Reason.OTHER_PERMISSION


@pytest.mark.parametrize(("length", "reader"), [(285, Reader.SERVICE_AGENT), (286, None)])
def test_who_is_looked_for_in_three_hundred_characters_before_the_sentence(length: int, reader: Reader | None) -> None:
    said = read_text(f"Odd Service Agent {'a' * length} {READ}")
    assert isinstance(said, ImageDenied)
    assert said.reader is reader


def test_an_address_elsewhere_names_nobody_where_nobody_is_named() -> None:
    assert read_text(f"Odd Something {READ}. User ana@example.com asked.") == unusual(None)


def test_only_punctuation_is_cut_off_an_image() -> None:
    image = "us-docker.pkg.dev/p/r/webX"
    assert read_text(f"Odd User must have permission to read the image, {image}).") == unusual(
        Reader.DEPLOYER, image=image
    )
