"""Turns the environment into one frozen Settings, validated. Reports all problems at once, by name and value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from remediate.decisions.organization import HomeNames
from remediate.decisions.policy import Mode
from remediate.errors import BadInput
from remediate.iam.member import reviewer_key

ENDPOINTS = (
    "ARTIFACTREGISTRY",
    "CLOUDRESOURCEMANAGER",
    "CLOUDSCHEDULER",
    "EVENTARC",
    "FIRESTORE",
    "IAM",
    "IAP",
    "LOGGING",
    "MONITORING",
    "POLICYTROUBLESHOOTER",
    "PUBSUB",
    "RUN",
    "SERVICEUSAGE",
    "STORAGE",
)
"""The services whose address can be overridden, by the same variables as for gcloud."""

_NAMES = (
    "MODE",
    "POLICY",
    "POLICY_CONFIRMED",
    "LEDGER",
    "ORGANIZATION",
    "REVIEWERS",
    "OPERATORS",
    "IDENTITIES",
    "IAP_AUDIENCE",
    "SECRET",
    "LOCAL_REVIEWER",
    "OPT_IN_TAG",
    "DOMAINS",
    "WORKFORCE_POOLS",
    "GRANT_DAYS",
    "TROUBLESHOOTER",
    "TIMEOUT",
    "LAPSE_DAYS",
    "HOLD_DAYS",
    "UNKNOWN_DEPLOYER",
    "GRANTS_AN_HOUR",
    "GRANTS_TO_A_MEMBER",
    "PROPOSALS_AN_HOUR",
    "NOTIFY_TOPIC",
    "SLACK_WEBHOOK",
    "CHAT_WEBHOOK",
    "REVIEW_URL",
)
_SECRETS = ("REMEDIATE_SECRET", "REMEDIATE_SLACK_WEBHOOK", "REMEDIATE_CHAT_WEBHOOK")
"""Variables whose values are never shown: the URL of a webhook is a credential."""
_OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
_ORGANIZATION = re.compile(r"(?:organizations/)?([1-9][0-9]{0,18})\Z")
_AUDIENCE = re.compile(
    r"/projects/[1-9][0-9]*/(?:locations/[a-z0-9-]+/services/[a-z0-9-]+|global/backendServices/[0-9]+)\Z"
)
_POOL = re.compile(r"[a-z][a-z0-9-]{2,62}\Z")
_TAG = re.compile(r"(?:tagValues/[1-9][0-9]*(?:,tagValues/[1-9][0-9]*)?|[a-z0-9.-]+/[^/\s]+/[^/\s]+)\Z")
_OBJECT = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/.+\Z")
_TOPIC = re.compile(r"projects/[a-z][a-z0-9:.-]{4,98}[a-z0-9]/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254}\Z")
_SLACK, _CHAT = ("hooks.slack.com", "hooks.slack-gov.com"), ("chat.googleapis.com",)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LEDGER = re.compile(r"(?:sqlite:///.+|firestore://[^/]+/[^/]+)\Z")


class Settings(msgspec.Struct, frozen=True):
    """All settings. The sentence under each field documents its environment variable."""

    mode: Mode | None = None
    """`REMEDIATE_MODE`: with `dry-run` a reviewer decides about everything, and no switch changes that; with `enforce`
    rules grant, where no switch says `dry-run`. Not set: the switches decide (`remediate mode`), at first `dry-run`."""
    policy: str | None = None
    """`REMEDIATE_POLICY`: a policy file, `PATH` or `gs://BUCKET/OBJECT`; if not set, the built-in rules decide."""
    policy_confirmed: str | None = None
    """`REMEDIATE_POLICY_CONFIRMED`: the SHA-256 of a policy text that needs no confirmation by a second person."""
    ledger: str = "sqlite:///.run/ledger.db"
    """`REMEDIATE_LEDGER`: the store of remediations, `sqlite:///PATH` or `firestore://PROJECT/DATABASE`. Required on
    Cloud Run, which has no persistent disk."""
    organization: str | None = None
    """`REMEDIATE_ORGANIZATION`: the number of the organization; a grant on a repository outside it is refused."""
    reviewers: tuple[str, ...] = ()
    """`REMEDIATE_REVIEWERS`: who may approve, but never their own deploy: addresses or domains, separated by commas."""
    operators: tuple[str, ...] = ()
    """`REMEDIATE_OPERATORS`: who may loosen the mode alone: addresses, separated by commas."""
    identities: tuple[str, ...] = ()
    """`REMEDIATE_IDENTITIES`: the service accounts of the service itself, separated by commas; they may not review."""
    iap_audience: str | None = None
    """`REMEDIATE_IAP_AUDIENCE`: `/projects/N/locations/REGION/services/NAME`; the review pages do not start without it,
    except on your own machine with the embedded ledger."""
    secret: str | None = None
    """`REMEDIATE_SECRET`: at least 32 characters, the same on every instance; signs the forms of the review pages."""
    local_reviewer: str = "you@example.com"
    """`REMEDIATE_LOCAL_REVIEWER`: who you are on pages that run on your own machine."""
    opt_in_tag: str | None = None
    """`REMEDIATE_OPT_IN_TAG`: `ORGANIZATION/KEY/VALUE`, or `tagValues/N,tagValues/M`; rules grant only in projects with
    this tag. The value `deployers` of the same key (or the second of the two) also lets them grant to newcomers."""
    domains: tuple[str, ...] = ()
    """`REMEDIATE_DOMAINS`: the organization's own domains, separated by commas; people of other domains are outside.
    Not set: it is unknown whether a person is outside, so a reviewer decides."""
    workforce_pools: tuple[str, ...] = ()
    """`REMEDIATE_WORKFORCE_POOLS`: the organization's own workforce pools, separated by commas; others are outside."""
    grant_days: float = 90
    """`REMEDIATE_GRANT_DAYS`: how long a grant by the built-in rule lasts; a sweep renews it after a newer deploy."""
    troubleshooter: bool = False
    """`REMEDIATE_TROUBLESHOOTER`: `on` asks Policy Troubleshooter about deny policies; this needs additional roles."""
    timeout: float = 10.0
    """`REMEDIATE_TIMEOUT`: seconds that one call to Google Cloud may take, 1 to 60."""
    lapse_days: float = 7
    """`REMEDIATE_LAPSE_DAYS`: days until a proposal, or an approval that is not carried out, expires."""
    hold_days: float = 30
    """`REMEDIATE_HOLD_DAYS`: days that a rejection holds before the same denial opens a proposal again."""
    one_may_declare: bool = False
    """`REMEDIATE_UNKNOWN_DEPLOYER`: if the log does not say who deployed, `two` reviewers must approve; with `declare`,
    one is enough who declares, on the record, that the deploy was not theirs."""
    grants_an_hour: int = 60
    """`REMEDIATE_GRANTS_AN_HOUR`: how many grants rules may make in a clock hour; beyond that a reviewer decides."""
    grants_to_a_member: int = 10
    """`REMEDIATE_GRANTS_TO_A_MEMBER`: how many of them to one member."""
    proposals_an_hour: int = 30
    """`REMEDIATE_PROPOSALS_AN_HOUR`: how many proposals of a project per clock hour get a notice and a row each."""
    notify_topic: str | None = None
    """`REMEDIATE_NOTIFY_TOPIC`: `projects/P/topics/T`; the topic gets a message for every notice."""
    slack_webhook: str | None = None
    """`REMEDIATE_SLACK_WEBHOOK`: the URL of an incoming webhook. It is a credential, so it is never shown."""
    chat_webhook: str | None = None
    """`REMEDIATE_CHAT_WEBHOOK`: the same for a Google Chat space."""
    review_url: str | None = None
    """`REMEDIATE_REVIEW_URL`: the address of the review pages, for the links in notices."""
    endpoints: Mapping[str, str] = {}
    """`CLOUDSDK_API_ENDPOINT_OVERRIDES_...`: other addresses of Google's APIs; `http://`: no TLS, no credentials.
    `PUBSUB_EMULATOR_HOST` (`HOST:PORT`) applies to Pub/Sub if its override is not set."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment. Raises BadInput, which names every variable with a problem."""
    problems: list[str] = []
    found: dict[str, object] = {}

    def take(name: str, field: str, accepted: str, parse: Callable[[str], object | None]) -> None:
        value = environ.get(name, "").strip()
        if value:
            parsed = parse(value)
            if parsed is None:
                shown = "..." if name in _SECRETS else repr(value)
                problems.append(f"{name}={shown}: expected {accepted}")
            else:
                found[field] = parsed

    take("REMEDIATE_MODE", "mode", "dry-run or enforce", lambda text: Mode(text) if text in list(Mode) else None)
    take("REMEDIATE_POLICY", "policy", "a path, or gs://BUCKET/OBJECT", _policy)
    digests = "64 hexadecimal digits, as sha256sum prints them"
    take("REMEDIATE_POLICY_CONFIRMED", "policy_confirmed", digests, _sha256)
    ledgers = "sqlite:///PATH (sqlite:////PATH for an absolute one) or firestore://PROJECT/DATABASE"
    take("REMEDIATE_LEDGER", "ledger", ledgers, lambda text: text if _LEDGER.match(text) else None)
    take("REMEDIATE_ORGANIZATION", "organization", "an organization's number", _organization)
    take("REMEDIATE_REVIEWERS", "reviewers", "addresses or domains, separated by commas", _reviewers)
    take("REMEDIATE_OPERATORS", "operators", "addresses, separated by commas", _addresses)
    take("REMEDIATE_IDENTITIES", "identities", "addresses, separated by commas", _addresses)
    audiences = "/projects/NUMBER/locations/REGION/services/NAME"
    take("REMEDIATE_IAP_AUDIENCE", "iap_audience", audiences, lambda text: text if _AUDIENCE.match(text) else None)
    take("REMEDIATE_SECRET", "secret", "at least 32 characters", lambda text: text if len(text) >= 32 else None)
    people = "the address of a person or service account"
    take("REMEDIATE_LOCAL_REVIEWER", "local_reviewer", people, lambda text: text if _addresses(text) else None)
    take("REMEDIATE_DOMAINS", "domains", "domains, separated by commas", _domains)
    take("REMEDIATE_WORKFORCE_POOLS", "workforce_pools", "ids of workforce pools, separated by commas", _pools)
    take("REMEDIATE_GRANT_DAYS", "grant_days", "days, from 1 to 3650", lambda text: _number(text, 1, 3650))
    tags = "ORGANIZATION/KEY/VALUE, tagValues/NUMBER or tagValues/NUMBER,tagValues/NUMBER"
    take("REMEDIATE_OPT_IN_TAG", "opt_in_tag", tags, lambda text: text if _TAG.match(text) else None)
    take("REMEDIATE_TROUBLESHOOTER", "troubleshooter", "on or off", {"on": True, "off": False}.get)
    take("REMEDIATE_TIMEOUT", "timeout", "seconds, from 1 to 60", lambda text: _number(text, 1, 60))
    take("REMEDIATE_LAPSE_DAYS", "lapse_days", "days, from 1 to 365", lambda text: _number(text, 1, 365))
    take("REMEDIATE_HOLD_DAYS", "hold_days", "days, from 1 to 3650", lambda text: _number(text, 1, 3650))
    take("REMEDIATE_UNKNOWN_DEPLOYER", "one_may_declare", "two or declare", {"two": False, "declare": True}.get)
    take("REMEDIATE_GRANTS_AN_HOUR", "grants_an_hour", "a number from 0 to 100000", _count)
    take("REMEDIATE_GRANTS_TO_A_MEMBER", "grants_to_a_member", "a number from 0 to 100000", _count)
    take("REMEDIATE_PROPOSALS_AN_HOUR", "proposals_an_hour", "a number from 0 to 100000", _count)
    topics = "projects/PROJECT/topics/TOPIC"
    take("REMEDIATE_NOTIFY_TOPIC", "notify_topic", topics, lambda text: text if _TOPIC.match(text) else None)
    slack = "https://hooks.slack.com/services/... (or http:// on 127.0.0.1 or localhost)"
    take("REMEDIATE_SLACK_WEBHOOK", "slack_webhook", slack, lambda text: _address(text, _SLACK))
    chat = "https://chat.googleapis.com/v1/spaces/... (or http:// on 127.0.0.1 or localhost)"
    take("REMEDIATE_CHAT_WEBHOOK", "chat_webhook", chat, lambda text: _address(text, _CHAT))
    pages = "https://HOST (or http:// on 127.0.0.1 or localhost), without a query"
    take("REMEDIATE_REVIEW_URL", "review_url", pages, _review_url)
    found["endpoints"] = _endpoints(environ, problems)
    if environ.get("K_SERVICE") and "ledger" not in found:
        problems.append(f"REMEDIATE_LEDGER is not set, but Cloud Run requires it: expected {ledgers}")
    problems += _unknown(environ)
    if problems:
        raise BadInput("\n".join(problems), advice="docs/settings.md lists all variables.")
    return msgspec.convert(found, Settings)


def endpoint(environ: Mapping[str, str], service: str) -> str | None:
    """The overridden address of one service (None: not overridden), for a command without settings. Raises BadInput."""
    problems: list[str] = []
    found = _endpoints({name: text for name, text in environ.items() if name == _OVERRIDE + service}, problems)
    if problems:
        raise BadInput("\n".join(problems), advice="docs/settings.md lists all variables.")
    return found.get(service)


def names_from(environ: Mapping[str, str]) -> HomeNames:
    """The organization's domains and workforce pools, for a command without other settings. Raises BadInput."""
    found: dict[str, tuple[str, ...]] = {}
    for name, parse in (("DOMAINS", _domains), ("WORKFORCE_POOLS", _pools)):
        value = environ.get(f"REMEDIATE_{name}", "").strip()
        parsed = parse(value) if value else ()
        if parsed is None:
            raise BadInput(f"REMEDIATE_{name}={value!r}: expected names, separated by commas")
        found[name] = parsed
    return HomeNames(found["DOMAINS"], found["WORKFORCE_POOLS"])


def _organization(text: str) -> str | None:
    match = _ORGANIZATION.match(text)
    return match[1] if match else None


def _reviewers(text: str) -> tuple[str, ...] | None:
    keys = [reviewer_key(part.strip()) for part in text.split(",") if part.strip()]
    return tuple(key for key in keys if key) if keys and all(keys) else None


def _domains(text: str) -> tuple[str, ...] | None:
    found = _reviewers(text)
    return found if found and not any("@" in each for each in found) else None


def _pools(text: str) -> tuple[str, ...] | None:
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    return found if found and all(_POOL.match(each) for each in found) else None


def _policy(text: str) -> str | None:
    scheme, separator, _ = text.partition("://")
    return text if not separator or (scheme == "gs" and _OBJECT.match(text)) else None


def _sha256(text: str) -> str | None:
    return text.lower() if re.fullmatch(r"[0-9A-Fa-f]{64}", text) else None


def _addresses(text: str) -> tuple[str, ...] | None:
    found = _reviewers(text)
    return found if found and all("@" in each for each in found) else None


def _number(text: str, least: float, most: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if least <= number <= most else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) and int(text) <= 100_000 else None


def _address(text: str, hosts: tuple[str, ...] | None) -> str | None:
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


def _review_url(text: str) -> str | None:
    found = _address(text, None)
    return found.rstrip("/") if found and "?" not in found else None


def _endpoints(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    endpoints = {}
    for service in ENDPOINTS:
        value = environ.get(_OVERRIDE + service, "").strip().rstrip("/")
        if value and not re.match(r"https?://[^\s/]+\Z", value):
            problems.append(f"{_OVERRIDE}{service}={value!r}: expected http://HOST:PORT or https://HOST")
        elif value:
            endpoints[service] = value
    emulator = environ.get("PUBSUB_EMULATOR_HOST", "").strip()
    if emulator and not re.match(r"[^\s/]+\Z", emulator):
        problems.append(f"PUBSUB_EMULATOR_HOST={emulator!r}: expected HOST:PORT")
    elif emulator:
        endpoints.setdefault("PUBSUB", f"http://{emulator}")
    return endpoints


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [f"REMEDIATE_{name}" for name in _NAMES]
    problems = []
    for name in sorted(environ):
        if name.startswith("REMEDIATE_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            problems.append(f"unknown setting {name}: {hint}")
    return problems
