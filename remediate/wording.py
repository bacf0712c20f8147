"""Turns an error text into what it says: who could not read which image, or which look-alike it is.

Wording is no contract of Google's, so every word that we rely on stands here and nowhere else. The texts are the
published ones: Cloud Run's troubleshooting page, issue trackers and logs of 2020 to 2026.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from remediate.image import Repository
from remediate.reasons import Reason


class Reader(StrEnum):
    """The two parties that Cloud Run wants to be able to read an image."""

    DEPLOYER = "deployer"
    SERVICE_AGENT = "service_agent"


class ImageDenied(msgspec.Struct, frozen=True):
    """What the text of an image-read denial tells; a field that it does not tell is None or empty."""

    reader: Reader | None = None
    addresses: tuple[str, ...] = ()
    """The different addresses that the text gives the one it names; more than one is a contradiction."""
    image: str | None = None
    """The image as written, without the sentence's full stop or quotes; not yet validated."""
    repositories: tuple[Repository, ...] = ()
    """The different repositories that the text names as the resource that was denied."""
    bare: bool = False
    """The registry's own words alone, which name nobody: whoever called was denied."""
    warned: bool = False
    """The wording is that of the warning of before 2025-01-15, which failed no deploy."""


CONDITION_REASONS = ("ContainerPermissionDenied", "CONTAINER_PERMISSION_DENIED")
"""The reason on a failed condition of a revision, service, execution or job: v1's spelling, then v2's."""

_QUOTE = r"[\s\"'`\\“”‘’]*"  # texts are pasted with either quote, typographic ones, or their JSON escapes left in
SOUGHT = (r"must\s+have\s+permission\s+to\s+read\s+the\s+image", r"artifactregistry\.repositories\.downloadArtifacts")
"""Regular expressions (RE2's syntax too), one of which stands in the text of every denial; case does not matter."""

_MUST_READ = re.compile(rf"{SOUGHT[0]}\b", re.I)
_WARNED = re.compile(r"User\s+does\s+not\s+have\s+access\s+to\s+(?:the\s+)?image\b", re.I)
_DOWNLOAD_DENIED = re.compile(
    rf"Permission{_QUOTE}{SOUGHT[1]}{_QUOTE}denied\s+on\s+resource"
    rf"(?:{_QUOTE}(?://artifactregistry\.googleapis\.com/)?(projects/[^\s\"'`\\“”‘’()]+))?",
    re.I,
)
_SERVICE_AGENT = re.compile(r"Service\s+Agent(?:\s+(\S+))?\s*\Z", re.I)
_USER = re.compile(r"\bUser(?:\s+\S+)?\s*\Z", re.I)
_ADDRESSED = re.compile(r"(Service\s+Agent|\bUser)\s+([^\s@]+@[^\s@]+)", re.I)
_IMAGE = re.compile(r"[,:]?\s*[\"'`“‘\[]?([^\s\"'`“”‘’\\,]+)")
_CAUSE_NOT_FOUND = re.compile(r"Cause:\s*404\b|\b(?:MANIFEST|NAME)_UNKNOWN\b")

# A text that quotes what the caller typed, or that another control stopped, is never a denial, whatever else it says.
_BEFORE = (
    (Reason.VPC_SERVICE_CONTROLS, re.compile(r"vpcServiceControlsUniqueI|by\s+VPC\s+Service\s+Controls", re.I)),
    (Reason.VPC_SERVICE_CONTROLS, re.compile(r"prohibited\s+by\s+organization.s\s+policy", re.I)),
    (
        Reason.BINARY_AUTHORIZATION,
        re.compile(r"not\s+authorized\s+by\s+policy|by\s+Binary\s+Authorization|by\s+attestor\b", re.I),
    ),
    (Reason.UNSUPPORTED_REGISTRY, re.compile(r"Expected\s+an\s+image\s+path\s+like", re.I)),
)
_AFTER = (
    (Reason.IMAGE_NOT_FOUND, re.compile(r"\bImage\s+\S+\s+(?:was\s+)?not\s+found|MANIFEST_UNKNOWN", re.I)),
    (Reason.ACCESS_TOKEN, re.compile(r"get\s+access\s+tokens|serviceAccounts\.getAccessToken", re.I)),
    (Reason.ACT_AS, re.compile(r"serviceaccounts\.actAs", re.I)),
    (Reason.SECRET_MANAGER, re.compile(r"Permission\s+denied\s+on\s+secret|secretmanager\.", re.I)),
    (Reason.KMS, re.compile(r"Cloud\s+KMS|\bcloudkms\.|EncryptionKey|\bCMEK\b", re.I)),
    (Reason.UPLOAD_ARTIFACTS, re.compile(r"repositories\.uploadArtifacts", re.I)),
    (Reason.RUN_PERMISSION, re.compile(rf"Permission{_QUOTE}run\.\w+\.\w+|does\s+not\s+have\s+permission", re.I)),
    (
        Reason.OTHER_PERMISSION,
        re.compile(r"PERMISSION_DENIED|Permission\s.{0,120}\sdenied|do\s+not\s+have\s+permission", re.I | re.S),
    ),
)


def read_text(text: str) -> ImageDenied | Reason | None:
    """What an error text of Cloud Run says: an image-read denial, a known look-alike, or (None) something else."""
    for reason, pattern in _BEFORE:
        if pattern.search(text):
            return reason
    if sentence := _MUST_READ.search(text):
        return _sentence(text, sentence)
    if _DOWNLOAD_DENIED.search(text):
        agents = _addresses(text, Reader.SERVICE_AGENT)
        reader = Reader.SERVICE_AGENT if agents else Reader.DEPLOYER
        return ImageDenied(reader, agents, None, _repositories(text), bare=not agents)
    if warning := _WARNED.search(text):
        return ImageDenied(Reader.DEPLOYER, (), _image(text, warning.end()), (), warned=True)
    return next((reason for reason, pattern in _AFTER if pattern.search(text)), None)


def _sentence(text: str, sentence: re.Match[str]) -> ImageDenied | Reason:
    """`WHO must have permission to read the image, IMAGE.`, with or without the registry's own words behind it."""
    repositories = _repositories(text)
    if not _DOWNLOAD_DENIED.search(text) and _CAUSE_NOT_FOUND.search(text):
        return Reason.IMAGE_NOT_FOUND  # the registry tells a 404 only to those who may read
    who = text[max(0, sentence.start() - 300) : sentence.start()]
    reader = None
    if _SERVICE_AGENT.search(who):
        reader = Reader.SERVICE_AGENT
    elif _USER.search(who):
        reader = Reader.DEPLOYER
    addresses = _addresses(text, reader) if reader else ()
    return ImageDenied(reader, addresses, _image(text, sentence.end()), repositories)


def _addresses(text: str, reader: Reader) -> tuple[str, ...]:
    """The addresses that stand behind "Service Agent", or behind "User", without quotes or brackets around them."""
    agents = reader is Reader.SERVICE_AGENT
    named = (address for who, address in _ADDRESSED.findall(text) if who.lower().startswith("service") is agents)
    return tuple(dict.fromkeys(address.strip("[](){}<>'\"`“”‘’\\.,;:") for address in named))


def _repositories(text: str) -> tuple[Repository, ...]:
    named = (Repository.parse(match[1].rstrip(".,;:")) for match in _DOWNLOAD_DENIED.finditer(text) if match[1])
    return tuple(dict.fromkeys(repository for repository in named if repository))


def _image(text: str, start: int) -> str | None:
    match = _IMAGE.match(text, start)
    return match[1].rstrip(".,;:)]") or None if match else None
