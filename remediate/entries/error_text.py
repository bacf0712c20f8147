"""Reads an error text: which identity could not read which image, or which similar error it is.

Google does not guarantee error wording, so only three modules depend on it: this one, message_grammar.py (known
messages as a whole) and registry_cause.py (causes that a registry gives). The texts are published ones: Cloud Run's
troubleshooting page, issue trackers and logs of 2020 to 2026.
"""

from __future__ import annotations

import re

import msgspec

from remediate.entries.message_grammar import DENIAL_PATTERNS as DENIAL_PATTERNS
from remediate.entries.message_grammar import ImageDenied as ImageDenied
from remediate.entries.message_grammar import Reader as Reader
from remediate.entries.message_grammar import flatten, resources, strip_quotes, whole_message
from remediate.entries.registry_cause import names_registry, registry_cause
from remediate.iam.repository import Repository
from remediate.reasons import Reason

CONDITION_REASONS = ("ContainerPermissionDenied", "CONTAINER_PERMISSION_DENIED")
"""The reason on a failed condition of a revision, service, execution or job: v1's spelling, then v2's."""

# The wording in a text that is not known as a whole.
_MUST_READ = re.compile(rf"{DENIAL_PATTERNS[0]}\b", re.I)
_DOWNLOAD = re.compile(DENIAL_PATTERNS[1], re.I)
_WARNED = re.compile(r"User does not have access to (?:the )?image\b", re.I)
_DENIED = re.compile(rf"Permission [\\\"']{{0,8}}{DENIAL_PATTERNS[1]}[\\\"']{{0,8}} denied", re.I)
_SERVICE_AGENT = re.compile(r"Service Agent(?: (\S+))?\s*\Z", re.I)
_USER = re.compile(r"\bUser(?: \S+)?\s*\Z", re.I)
_RUN_AGENT = re.compile(r"\bservice-[0-9]+@serverless-robot-prod\.iam\.gserviceaccount\.com\s*\Z", re.I)
_ADDRESSED = re.compile(r"(Service Agent|\bUser) ([^\s@]{1,200}@[^\s@]{1,200})", re.I)
_CAUSE = re.compile(r"\bCause:|\berrors\\{0,3}\" ?:|\b(?:GET|HEAD) https://")
_IMAGE = re.compile(r"[,:]? ?[\"'\[]?([^\s\"'\\,]+)")

# A text is never an image denial if it quotes what the caller typed, or if another control stopped the call.
_BEFORE = (
    (Reason.VPC_SERVICE_CONTROLS, re.compile(r"vpcServiceControlsUniqueI|by VPC Service Controls", re.I)),
    (Reason.VPC_SERVICE_CONTROLS, re.compile(r"prohibited by organization.s policy", re.I)),
    (
        Reason.BINARY_AUTHORIZATION,
        re.compile(r"not authorized by policy|by Binary Authorization|by attestor\b", re.I),
    ),
    (Reason.UNSUPPORTED_REGISTRY, re.compile(r"Expected an image path like", re.I)),
)
# Other known errors. If the wording of a denial follows one of them, that error only quotes it.
_KNOWN = (
    (
        Reason.ORGANIZATION_POLICY,
        re.compile(r"\borg(?:anization)?(?:'s)? polic(?:y|ies)\b|\bconstraints/|\bcustomConstraints/", re.I),
    ),
    (Reason.IMAGE_NOT_FOUND, re.compile(r"\bImage \S+ (?:was )?not found|MANIFEST_UNKNOWN", re.I)),
    (Reason.ACCESS_TOKEN, re.compile(r"get access tokens|serviceAccounts\.getAccessToken", re.I)),
    (Reason.ACT_AS, re.compile(r"serviceaccounts\.actAs", re.I)),
    (Reason.SECRET_MANAGER, re.compile(r"Permission denied on secret|secretmanager\.", re.I)),
    (Reason.KMS, re.compile(r"Cloud KMS|\bcloudkms\.|EncryptionKey|\bCMEK\b", re.I)),
    (Reason.UPLOAD_ARTIFACTS, re.compile(r"repositories\.uploadArtifacts", re.I)),
    (Reason.RUN_PERMISSION, re.compile(r"Permission [\\\"']{0,8}run\.\w+\.\w+", re.I)),
    (
        Reason.OTHER_PERMISSION,
        re.compile(
            rf"Permission [\\\"']{{0,8}}(?!{DENIAL_PATTERNS[1]})"
            r"[a-z][a-z0-9]{1,40}(?:\.[a-z0-9]{1,60}){2}[\\\"']{0,8} denied",
            re.I,
        ),
    ),
)
# Checked only if the text has no wording of a denial: the same words can also be a prefix of any error.
_VAGUE = (
    (Reason.RUN_PERMISSION, re.compile(r"does not have permission to access namespaces instance", re.I)),
    (
        Reason.OTHER_PERMISSION,
        re.compile(r"PERMISSION_DENIED|Permission (?:.{0,120} )?denied|do(?:es)? not have permission", re.I),
    ),
)


def read_text(text: str) -> ImageDenied | Reason | None:
    """Read an error text of Cloud Run: an image-read denial, a known similar error, or None for anything else.

    A denial is `unusual` if its text is not known as a whole: the caller may have typed part of it.
    """
    text = flatten(text)
    for reason, pattern in _BEFORE:
        if pattern.search(text):
            return reason
    if said := whole_message(text):
        return said
    words = [match.start() for pattern in (_MUST_READ, _DOWNLOAD, _WARNED) if (match := pattern.search(text))]
    if words:
        return _unusual(text, min(words))
    if names_registry(text) and (cause := registry_cause(text)):
        return cause
    return next((reason for reason, pattern in (*_KNOWN, *_VAGUE) if pattern.search(text)), None)


def _unusual(text: str, words: int) -> ImageDenied | Reason:
    """Read a text that has the wording of a denial at position `words` but is not known as a whole."""
    if outer := next((reason for reason, pattern in _KNOWN if pattern.search(text, 0, words)), None):
        return outer
    sentence = _MUST_READ.search(text)
    answer = _answer(text, sentence)
    if not _DENIED.search(text) and names_registry(answer) and (cause := registry_cause(answer)):
        return cause
    said = _sentence(text, sentence) if sentence else _registrys(text)
    return msgspec.structs.replace(said, unusual=True)


def _answer(text: str, sentence: re.Match[str] | None) -> str:
    """The registry's part of a text: after the sentence's image, and after "Cause:" if the text has it."""
    if sentence is None:
        return text
    image = _IMAGE.match(text, sentence.end())
    after = text[image.end() if image else sentence.end() :]
    cause = _CAUSE.search(after)
    return f"Artifact Registry: {after[cause.start() :]}" if cause else after


def _sentence(text: str, sentence: re.Match[str]) -> ImageDenied:
    """Read `WHO must have permission to read the image, IMAGE.`, with or without the registry's message after it."""
    who = text[max(0, sentence.start() - 300) : sentence.start()]
    reader = None
    alone = _RUN_AGENT.search(who)
    if _SERVICE_AGENT.search(who) or alone:
        reader = Reader.SERVICE_AGENT
    elif _USER.search(who):
        reader = Reader.DEPLOYER
    addresses = _addresses(text, reader) if reader else ()
    addresses = tuple(dict.fromkeys([*addresses, *([alone[0].strip()] if alone else [])]))
    image = _image(text, sentence.end())
    repositories, unread = _repositories(text)
    return ImageDenied(reader, addresses, image, repositories, unread=unread)


def _registrys(text: str) -> ImageDenied:
    """Read the registry's own message, or the warning that Cloud Run wrote until 2025-01-15."""
    repositories, unread = _repositories(text)
    if warning := _WARNED.search(text):
        return ImageDenied(
            Reader.DEPLOYER, (), _image(text, warning.end()), repositories, is_warning=True, unread=unread
        )
    agents = _addresses(text, Reader.SERVICE_AGENT)
    reader = Reader.SERVICE_AGENT if agents else Reader.DEPLOYER
    return ImageDenied(reader, agents, None, repositories, registry_message_only=not agents, unread=unread)


def _addresses(text: str, reader: Reader) -> tuple[str, ...]:
    """The addresses that follow "Service Agent" or "User", without quotes or brackets around them."""
    agents = reader is Reader.SERVICE_AGENT
    named = (address for who, address in _ADDRESSED.findall(text) if who.lower().startswith("service") is agents)
    return tuple(dict.fromkeys(strip_quotes(address) for address in named))


def _repositories(text: str) -> tuple[tuple[Repository, ...], bool]:
    """The repositories that the text names as denied, and whether it also names a resource of another form."""
    named = [Repository.parse(each) for each in resources(text)]
    return tuple(dict.fromkeys(each for each in named if each)), None in named


def _image(text: str, start: int) -> str | None:
    match = _IMAGE.match(text, start)
    return match[1].rstrip(".,;:)]") or None if match else None
