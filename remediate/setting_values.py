"""What the text of a setting may be: in words, and as the code that reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from remediate.iam.member import reviewer_key

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Accepted(NamedTuple):
    """What is accepted, in words. `parse` gives the value of a text; None: the text is not accepted."""

    words: str
    parse: Callable[[str], object | None]
    is_secret: bool = False
    """The text is never shown: the URL of a webhook is a credential."""


def one_of(choices: Mapping[str, object]) -> Accepted:
    """One of these texts; its value is what it maps to."""
    return Accepted(" or ".join(choices), choices.get)


def number_of(unit: str, least: int, most: int) -> Accepted:
    """A number of this unit, from `least` to `most`."""

    def parse(text: str) -> float | None:
        try:
            number = float(text)
        except ValueError:
            return None
        return number if least <= number <= most else None

    return Accepted(f"{unit}, from {least} to {most}", parse)


def _same(pattern: str) -> Callable[[str], str | None]:
    """The text as it is, if all of it matches."""
    return lambda text: text if re.fullmatch(pattern, text) else None


def _each(key: Callable[[str], str | None]) -> Callable[[str], tuple[str | None, ...] | None]:
    """The keys of names that are separated by commas, if there is a name and each has a key."""

    def parse(text: str) -> tuple[str | None, ...] | None:
        keys = tuple(key(name.strip()) for name in text.split(",") if name.strip())
        return keys if keys and all(keys) else None

    return parse


def _address(text: str) -> str | None:
    key = reviewer_key(text)
    return key if key and "@" in key else None


def _domain(text: str) -> str | None:
    key = reviewer_key(text)
    return key if key and "@" not in key else None


def _organization(text: str) -> str | None:
    match = re.fullmatch(r"(?:organizations/)?([1-9][0-9]{0,18})", text)
    return match[1] if match else None


def _url(text: str, hosts: tuple[str, ...] | None = None) -> str | None:
    """The URL, if it is `https` at one of these hosts (None: any host), or `http` on this machine; else None."""
    try:
        url = urlsplit(text)
        proper = url.port != 0 and not url.username and not url.password and not url.fragment
    except ValueError:  # an invalid port or IPv6 address
        return None
    if not re.fullmatch(r"[!-~]+", text) or set(text) & set('<>"\\|`') or not url.hostname or not proper:
        return None
    there = url.scheme == "https" and (hosts is None or (url.hostname in hosts and len(url.path) > 1))
    return text if there or (url.scheme == "http" and url.hostname in _LOOPBACK) else None


def _policy(text: str) -> str | None:
    is_path = "://" not in text
    return text if is_path or re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/.+", text) else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) and int(text) <= 100_000 else None


def _page(text: str) -> str | None:
    url = _url(text)
    return url.rstrip("/") if url and "?" not in url else None


def _webhook(words: str, *hosts: str) -> Accepted:
    words += " (or http:// on 127.0.0.1 or localhost)"
    return Accepted(words, lambda text: _url(text, hosts), is_secret=True)


POLICY = Accepted("a path, or gs://BUCKET/OBJECT", _policy)
SHA256 = Accepted(
    "64 hexadecimal digits, as sha256sum prints them",
    lambda text: text.lower() if re.fullmatch(r"[0-9A-Fa-f]{64}", text) else None,
)
LEDGER = Accepted(
    "sqlite:///PATH (sqlite:////PATH for an absolute one) or firestore://PROJECT/DATABASE",
    _same(r"sqlite:///.+|firestore://[^/]+/[^/]+"),
)
ORGANIZATION = Accepted("an organization's number", _organization)
REVIEWERS = Accepted("addresses or domains, separated by commas", _each(reviewer_key))
ADDRESSES = Accepted("addresses, separated by commas", _each(_address))
PERSON = Accepted("the address of a person or service account", lambda text: text if ADDRESSES.parse(text) else None)
DOMAINS = Accepted("domains, separated by commas", _each(_domain))
POOLS = Accepted("ids of workforce pools, separated by commas", _each(_same(r"[a-z][a-z0-9-]{2,62}")))
AUDIENCE = Accepted(
    "/projects/NUMBER/locations/REGION/services/NAME",
    _same(r"/projects/[1-9][0-9]*/(?:locations/[a-z0-9-]+/services/[a-z0-9-]+|global/backendServices/[0-9]+)"),
)
SECRET = Accepted("at least 32 characters", lambda text: text if len(text) >= 32 else None, is_secret=True)
TAG = Accepted(
    "ORGANIZATION/KEY/VALUE, tagValues/NUMBER or tagValues/NUMBER,tagValues/NUMBER",
    _same(r"tagValues/[1-9][0-9]*(?:,tagValues/[1-9][0-9]*)?|[a-z0-9.-]+/[^/\s]+/[^/\s]+"),
)
COUNT = Accepted("a number from 0 to 100000", _count)
LOOKUPS = Accepted(
    "a number from 1 to 60", lambda text: int(text) if re.fullmatch(r"[1-9]|[1-5][0-9]|60", text) else None
)
TOPIC = Accepted(
    "projects/PROJECT/topics/TOPIC",
    _same(r"projects/[a-z][a-z0-9:.-]{4,98}[a-z0-9]/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254}"),
)
LOG_VIEW = Accepted(
    "projects/PROJECT/locations/LOCATION/buckets/BUCKET/views/VIEW",
    _same(r"projects/[a-z][a-z0-9:.-]{4,98}[a-z0-9]/locations/[a-z0-9-]+/buckets/[\w.-]{1,100}/views/[\w.-]{1,100}"),
)
SLACK_WEBHOOK = _webhook("https://hooks.slack.com/services/...", "hooks.slack.com", "hooks.slack-gov.com")
CHAT_WEBHOOK = _webhook("https://chat.googleapis.com/v1/spaces/...", "chat.googleapis.com")
REVIEW_URL = Accepted("https://HOST (or http:// on 127.0.0.1 or localhost), without a query", _page)
