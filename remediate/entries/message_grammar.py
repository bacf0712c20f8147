"""Parses an error text completely, from its first word to its last; None if any part is unknown.

Cloud Run's errors repeat what a caller typed: names, labels, image paths. A text is therefore known only as a whole:
known prefixes, then sentences about images, each with known tails, then the end. A placeholder that a caller fills
cannot contain a space or a quote. The texts are published ones: Cloud Run's troubleshooting page, issue trackers and
logs of 2020 to 2026. Every quantifier is bounded or covers one class of characters, so the time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from remediate.iam.repository import Repository


class Reader(StrEnum):
    """The two identities that Cloud Run requires to be able to read an image."""

    DEPLOYER = "deployer"
    SERVICE_AGENT = "service_agent"


class ImageDenied(msgspec.Struct, frozen=True):
    """The content of an image-read denial's text. A field that the text does not give is None or empty."""

    reader: Reader | None = None
    addresses: tuple[str, ...] = ()
    """The distinct addresses that the text gives for the reader; more than one is a contradiction."""
    image: str | None = None
    """The image as written, without the sentence's full stop or quotes; not yet validated."""
    repositories: tuple[Repository, ...] = ()
    """The distinct repositories that the text names as the denied resource."""
    registry_message_only: bool = False
    """The text is only the registry's message, which names no reader: the caller was denied."""
    is_warning: bool = False
    """The wording is the warning that Cloud Run wrote until 2025-01-15; it failed no deploy."""
    unread: bool = False
    """The text names a resource in an unknown form."""
    unusual: bool = False
    """The text as a whole is not a known one."""
    also: tuple[ImageDenied, ...] = ()
    """The content of further sentences of the same text, about other images."""


DENIAL_PATTERNS = (
    r"must\s+have\s+permission\s+to\s+read\s+the\s+image",
    r"artifactregistry\.repositories\.downloadArtifacts",
)
"""Regular expressions (valid in RE2 too). The text of every denial matches one of them, in any case."""

_QUOTES = str.maketrans("“”‘’`", "\"\"'''")
_BLANKS = re.compile(r"[ \t\r\n]+")

_QUOTE = r"\\{0,3}[\"']"  # texts are pasted with the escapes of JSON left in
_GAP = r"(?: |\\{1,3}n){0,4}"
_BARE_ADDRESS = r"[^\s@\[\]()'\",]{1,100}@[^\s@\[\]()'\",]{1,200}"
_ADDRESS = "(?:" + "|".join(each.format(_BARE_ADDRESS) for each in (r"\[{}\]", r"\({}\)", "'{}'", '"{}"', "{}")) + ")"
_PARTY = r"(?:the )?(?:Google )?Cloud Run Service Agent|User"
_PROJECT = r"\[?[^\s\[\]\"',]{1,150}\]?"
_NAME = r"['\"]?[a-z0-9][a-z0-9-]{0,99}['\"]?"
_DOCUMENTATION = r"https://(?:docs\.)?cloud\.google\.com/[A-Za-z0-9/_.#?=&%-]{1,300}"
_CONSOLE = r"https://console\.cloud\.google\.com/[A-Za-z0-9/;=%._~:@!$&*+,?#-]{0,2100}[A-Za-z0-9/=%_-]"
_URL = r"https://[!#-&(-\[\]-~]{1,3000}"  # printable, without blanks, quotes and backslashes
_IMAGE = r"[^\s\"'\\,\[\]]{1,1100}"

SENTENCE = re.compile(
    rf"(?:(?P<party>{_PARTY})(?: (?P<address>{_ADDRESS}))?|(?P<alone>{_ADDRESS}))"
    r" must have permission to read the image[,:]?"
    rf" (?:'(?P<quoted>{_IMAGE})'|\"(?P<cited>{_IMAGE})\"|(?P<image>{_IMAGE}))\.?",
    re.I,
)
_RESOURCE = (
    rf"{_QUOTE}[^\s\"'\\]{{1,400}}{_QUOTE}|(?://artifactregistry\.googleapis\.com/)?projects/[^\s\"'\\()]{{1,400}}"
)
BARE = (
    rf"Permission (?:{_QUOTE})?{DENIAL_PATTERNS[1]}(?:{_QUOTE})? denied"
    rf"(?: on resource(?: (?:{_RESOURCE}))?(?: \(or (?:it|resource) may not exist\))?)?\.?"
)
"""The registry's own message: Permission "..." denied on resource "projects/..." (or it may not exist)."""

_BARE = re.compile(BARE, re.I)
_NAMED = re.compile(rf"denied on resource ({_RESOURCE})", re.I)
_WARNED = re.compile(r"User does not have access to (?:the )?image (?P<image>[^\s\"'\\,]{1,1100})\.?", re.I)

# Log entries do not have the prefixes of gcloud and Terraform; pasted texts do.
_PREFIXES = [
    re.compile(pattern)
    for pattern in (
        rf"(?:Revision|Service|Job|Execution|Worker ?[Pp]ool|Instance) {_NAME} is not ready"
        r"(?: and cannot serve traffic)?\.",
        r"[A-Z][A-Za-z]{2,30} condition status changed to (?:False|Unknown) for [A-Z][A-Za-z]{2,20}"
        rf" {_NAME} with message:",
        r"ERROR: \(gcloud(?:\.[a-z-]{1,30}){1,6}\)",
        r"(?:ERROR|Error|PERMISSION_DENIED|FAILED_PRECONDITION|googleapi):",
        r"Error [0-9]{3}:",
        r"Error code [0-9]{1,3}, message:",
        r"Error (?:creating|updating|waiting to create|waiting to update|waiting for Creating|waiting for Updating)"
        r" [A-Z][A-Za-z]{2,20}:",
        r"resource is in failed state \"Ready:False\", message:",
        r"(?:User )?\[[^\s\[\]]{1,200}\] does not have permission to access namespaces instance \[[^\s\[\]]{1,100}\]"
        r" \(or it may not exist\):",
    )
]
_PASTED = re.compile(r"\"message\": \"")

# A placeholder in braces is the part that differs from text to text.
_TAILS = (
    "Ensure that the provided container image URL is correct and that the above account has permission to access the"
    " image.",
    "Ensure that the provided container image URL is correct and that above account has permission to access the"
    " image.",
    "If you just enabled the Cloud Run API, the permissions might take a few minutes to propagate.",
    "Note that the image is from project {project}, which is not the same as this project {project}.",
    "Note that {project} is not in project {project}.",
    "Permission must be granted to the {who} from this project.",
    "See {documentation}",
    "For more information, see {documentation}",
    "For more troubleshooting guidance, see {documentation}",
    "Learn more at {documentation}",
    "Remediate access with this Troubleshooter URL or share it with your administrator - {console}",
    "To troubleshoot this error, see {console}",
    "To troubleshoot this error, visit {console}",
    "To troubleshoot access, see {console}",
    "To remediate access, see {console}",
    "For details, see {console}",
    "Troubleshooter URL: {console}",
    "Troubleshooting URL: {console}",
    "Help Token: {token}",
    "Logs for this revision might contain more information.",
    "Logs URL: {console}",
    "This command is authenticated as {address} which is the active account specified by the [core/account] property.",
)
_BLANK = {
    "project": _PROJECT,
    "who": rf"(?:{_PARTY})(?: {_ADDRESS})?",
    "documentation": _DOCUMENTATION,
    "console": _CONSOLE,
    "token": r"[A-Za-z0-9_=-]{8,400}",
    "address": _ADDRESS,
}


def _compiled(template: str) -> re.Pattern[str]:
    pieces = re.split(r"\{([a-z]+)\}", template)
    filled = "".join(_BLANK[each] if place % 2 else re.escape(each) for place, each in enumerate(pieces))
    return re.compile(filled + r"(?: ?\.(?= |\Z))?", re.I)


_KNOWN_TAILS = [_compiled(each) for each in _TAILS]
_PARTIES = ("User", "Google Cloud Run Service Agent", "Google Cloud Run Service Agent {address}")
_WHOLE = [each.replace("{who}", named).split(" ") for each in _TAILS for named in _PARTIES]
_ERROR = (
    rf"\{{ ?{_QUOTE}code{_QUOTE} ?: ?{_QUOTE}DENIED{_QUOTE} ?, ?{_QUOTE}message{_QUOTE} ?: ?{_QUOTE}{BARE}{_QUOTE}"
    rf"(?: ?, ?{_QUOTE}detail{_QUOTE} ?: ?(?:null|{_QUOTE}{_QUOTE}|\{{ ?\}}))? ?\}}"
)
_CAUSE = re.compile(
    rf"{_GAP}Cause:{_GAP}(?:403 Forbidden)?{_GAP}(?:(?:GET|HEAD) {_URL})?{_GAP}"
    rf"(?:\{{ ?{_QUOTE}errors{_QUOTE} ?: ?\[ ?{_ERROR} ?\] ?\}}|{BARE})?{_GAP}",
    re.I,
)
_GRANTED_TO = re.compile(rf"Permission must be granted to the (?P<party>{_PARTY}) (?P<address>{_ADDRESS})", re.I)
_FORBIDDEN = re.compile(r", forbidden\Z")
_RUN_AGENT = re.compile(r"service-[^\s@]{1,40}@serverless-robot-prod\.iam\.gserviceaccount\.com\Z", re.I)
_MOST = 64  # clauses that are read; the longest known text has about ten


def flatten(text: str) -> str:
    """The text on one line, with straight quotes: logs and terminals wrap lines and change quotes."""
    return _BLANKS.sub(" ", text.translate(_QUOTES)).strip(" ")


def whole_message(text: str) -> ImageDenied | None:
    """The content of a flattened text about images, if all of its wording is known; otherwise None."""
    if not (text.isascii() and text.isprintable()):
        return None  # names in Google Cloud have no other characters
    at, end = _begin(text)
    found: list[ImageDenied] = []
    for _ in range(_MOST):
        if at >= end:
            break
        here = text[at:end]  # a clause ends before the closing quote
        if stated := _statement(here):
            match, said = stated
            if said.registry_message_only and found and not found[-1].registry_message_only:
                found[-1] = _with_resources(found[-1], match[0])  # this gives the cause of the previous sentence
            else:
                found.append(said)
        elif found and (tail := _tail(here)):
            match = tail
            found[-1] = _with_resources(_with_address(found[-1], match[0]), match[0])
        elif found and (_cut(here) or _FORBIDDEN.match(here)):
            break
        else:
            return None
        at += match.end()
        if at < end and text[at] == " ":
            at += 1
        elif at < end and not (_CAUSE.match(text, at, end) or _FORBIDDEN.match(text, at, end)):
            return None
    else:
        return None
    return _together(found) if found else None


def party(named: str | None, alone: str | None) -> Reader | None:
    """The reader that "User", "Service Agent" or a lone address names. Only Cloud Run's agent has its address form."""
    if named:
        return Reader.DEPLOYER if named.lower() == "user" else Reader.SERVICE_AGENT
    if alone:
        return Reader.SERVICE_AGENT if _RUN_AGENT.match(strip_quotes(alone)) else Reader.DEPLOYER
    return None


def strip_quotes(address: str) -> str:
    """An address without the quotes or brackets around it."""
    return address.strip("[](){}<>'\"\\.,;:")


def resources(text: str) -> Iterator[str]:
    """Every resource that the registry's message names in this text, as written."""
    for match in _NAMED.finditer(text):
        yield match[1].strip("\\\"'").removeprefix("//artifactregistry.googleapis.com/").rstrip(".,;:")


def _begin(text: str) -> tuple[int, int]:
    """The end of the known prefixes, and the end of the text: before the closing quote of a pasted JSON field."""
    at, end = 0, len(text)
    if pasted := _PASTED.match(text):
        at, end = pasted.end(), end - text.endswith('"')
    for _ in range(8):
        match = next((match for each in _PREFIXES if (match := each.match(text, at))), None)
        if match is None:
            break
        at = match.end() + text.startswith(" ", match.end())
    return at, end


def _statement(text: str) -> tuple[re.Match[str], ImageDenied] | None:
    """The statement about an image that the text begins with."""
    if match := SENTENCE.match(text):
        named = match["address"] or match["alone"]
        addresses = (strip_quotes(named),) if named else ()
        reader = party(match["party"], match["alone"])
        return match, ImageDenied(reader, addresses, _reference(match["quoted"] or match["cited"] or match["image"]))
    if match := _BARE.match(text):
        return match, _with_resources(ImageDenied(Reader.DEPLOYER, registry_message_only=True), match[0])
    if match := _WARNED.match(text):
        return match, ImageDenied(Reader.DEPLOYER, image=_reference(match["image"]), is_warning=True)
    return None


def _reference(text: str) -> str | None:
    """The image without the sentence's full stop."""
    return text.rstrip(".;:)") or None


def _tail(text: str) -> re.Match[str] | None:
    found = next((match for each in _KNOWN_TAILS if (match := each.match(text))), None)
    return found or _CAUSE.match(text)


def _with_resources(said: ImageDenied, text: str) -> ImageDenied:
    named = list(dict.fromkeys(resources(text)))
    parsed = [Repository.parse(each) for each in named]
    repositories = dict.fromkeys([*said.repositories, *(each for each in parsed if each)])
    unread = said.unread or None in parsed
    return msgspec.structs.replace(said, repositories=tuple(repositories), unread=unread)


def _with_address(said: ImageDenied, text: str) -> ImageDenied:
    """Adds the address that the tail gives, if it is about the reader that the sentence names."""
    match = _GRANTED_TO.match(text)
    if match is None or party(match["party"], None) is not said.reader:
        return said
    return msgspec.structs.replace(
        said, addresses=tuple(dict.fromkeys([*said.addresses, strip_quotes(match["address"])]))
    )


def _together(found: list[ImageDenied]) -> ImageDenied:
    """The first statement, with the others in `also`: Cloud Run can deny several images of one deploy at once."""
    first, *others = found
    addresses = tuple(dict.fromkeys(address for each in found for address in each.addresses))
    unusual = any(each.reader is not first.reader or each.is_warning is not first.is_warning for each in others)
    return msgspec.structs.replace(first, addresses=addresses, also=tuple(others), unusual=unusual)


def _cut(text: str) -> bool:
    """Whether this is the beginning of a known tail that a field's length limit cut off."""
    words = text[:500].split(" ")
    return len(text) < 500 and len(words) > 2 and any(_cut_from(words, each) for each in _WHOLE)


def _cut_from(words: list[str], known: list[str]) -> bool:
    if len(words) > len(known):
        return False
    *before, (cut, token) = zip(words, known, strict=False)
    return token.startswith(cut) and all(_fits(word, each) for word, each in before)


def _fits(word: str, token: str) -> bool:
    """Whether a word equals the token of a tail, or matches its placeholder."""
    blank = re.match(r"\{([a-z]+)\}", token)
    return re.fullmatch(_BLANK[blank[1]] + r"[.,]?", word) is not None if blank else word == token
