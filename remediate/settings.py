"""Turns the environment into one frozen Settings, validated. Reports all problems at once, by name and value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

import msgspec

from remediate import setting_values as values
from remediate.decisions.organization import HomeNames
from remediate.decisions.policy import Mode
from remediate.errors import BadInput
from remediate.times import HOLD_REJECTIONS, LAPSE_AFTER

ENDPOINTS = tuple(
    "ARTIFACTREGISTRY CLOUDBUILD CLOUDRESOURCEMANAGER CLOUDSCHEDULER EVENTARC FIRESTORE IAM IAP LOGGING MONITORING"
    " POLICYTROUBLESHOOTER PUBSUB RUN SERVICEUSAGE STORAGE".split()
)
"""The services whose address can be overridden, by the same variables as for gcloud."""
_OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"


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
    """`REMEDIATE_OPT_IN_TAG`: `ORGANIZATION/KEY/VALUE`, or `tagValues/N,tagValues/M`; people and rules grant only in
    projects with this tag. The value `deployers` of the same key (or the second of the two) also lets rules grant to
    newcomers."""
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
    lookups_a_minute: int = 50
    """`REMEDIATE_LOOKUPS_A_MINUTE`: how many log look-ups this process makes in a minute, 1 to 60: all share 60."""
    log_view: str | None = None
    """`REMEDIATE_LOG_VIEW`: `projects/P/locations/L/buckets/B/views/V`, the view of a log bucket that sinks fill with
    denials. Entries are read back from it first, and `sweep --since` reads it. Not set: the projects' own logs."""
    lapse_days: float = LAPSE_AFTER.days
    """`REMEDIATE_LAPSE_DAYS`: days until a proposal, or an approval that is not carried out, expires."""
    hold_days: float = HOLD_REJECTIONS.days
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
    writer_topic: str | None = None
    """`REMEDIATE_WRITER_TOPIC`: `projects/P/topics/T`; this process changes no policy, and wakes the writer through the
    topic. Not set: this process changes policies itself."""
    slack_webhook: str | None = None
    """`REMEDIATE_SLACK_WEBHOOK`: the URL of an incoming webhook. It is a credential, so it is never shown."""
    chat_webhook: str | None = None
    """`REMEDIATE_CHAT_WEBHOOK`: the same for a Google Chat space."""
    review_url: str | None = None
    """`REMEDIATE_REVIEW_URL`: the address of the review pages, for the links in notices."""
    endpoints: Mapping[str, str] = {}
    """`CLOUDSDK_API_ENDPOINT_OVERRIDES_...`: other addresses of Google's APIs; `http://`: no TLS, no credentials.
    `PUBSUB_EMULATOR_HOST` (`HOST:PORT`) applies to Pub/Sub if its override is not set."""


_VARIABLES = {
    "mode": ("REMEDIATE_MODE", values.one_of({mode.value: mode for mode in Mode})),
    "policy": ("REMEDIATE_POLICY", values.POLICY),
    "policy_confirmed": ("REMEDIATE_POLICY_CONFIRMED", values.SHA256),
    "ledger": ("REMEDIATE_LEDGER", values.LEDGER),
    "organization": ("REMEDIATE_ORGANIZATION", values.ORGANIZATION),
    "reviewers": ("REMEDIATE_REVIEWERS", values.REVIEWERS),
    "operators": ("REMEDIATE_OPERATORS", values.ADDRESSES),
    "identities": ("REMEDIATE_IDENTITIES", values.ADDRESSES),
    "iap_audience": ("REMEDIATE_IAP_AUDIENCE", values.AUDIENCE),
    "secret": ("REMEDIATE_SECRET", values.SECRET),
    "local_reviewer": ("REMEDIATE_LOCAL_REVIEWER", values.PERSON),
    "domains": ("REMEDIATE_DOMAINS", values.DOMAINS),
    "workforce_pools": ("REMEDIATE_WORKFORCE_POOLS", values.POOLS),
    "grant_days": ("REMEDIATE_GRANT_DAYS", values.number_of("days", 1, 3650)),
    "opt_in_tag": ("REMEDIATE_OPT_IN_TAG", values.TAG),
    "troubleshooter": ("REMEDIATE_TROUBLESHOOTER", values.one_of({"on": True, "off": False})),
    "timeout": ("REMEDIATE_TIMEOUT", values.number_of("seconds", 1, 60)),
    "lookups_a_minute": ("REMEDIATE_LOOKUPS_A_MINUTE", values.LOOKUPS),
    "log_view": ("REMEDIATE_LOG_VIEW", values.LOG_VIEW),
    "lapse_days": ("REMEDIATE_LAPSE_DAYS", values.number_of("days", 1, 365)),
    "hold_days": ("REMEDIATE_HOLD_DAYS", values.number_of("days", 1, 3650)),
    "one_may_declare": ("REMEDIATE_UNKNOWN_DEPLOYER", values.one_of({"two": False, "declare": True})),
    "grants_an_hour": ("REMEDIATE_GRANTS_AN_HOUR", values.COUNT),
    "grants_to_a_member": ("REMEDIATE_GRANTS_TO_A_MEMBER", values.COUNT),
    "proposals_an_hour": ("REMEDIATE_PROPOSALS_AN_HOUR", values.COUNT),
    "notify_topic": ("REMEDIATE_NOTIFY_TOPIC", values.TOPIC),
    "writer_topic": ("REMEDIATE_WRITER_TOPIC", values.TOPIC),
    "slack_webhook": ("REMEDIATE_SLACK_WEBHOOK", values.SLACK_WEBHOOK),
    "chat_webhook": ("REMEDIATE_CHAT_WEBHOOK", values.CHAT_WEBHOOK),
    "review_url": ("REMEDIATE_REVIEW_URL", values.REVIEW_URL),
}
"""The variable of each field and what it accepts, in the order in which problems are reported."""


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment. Raises BadInput, which names every variable with a problem."""
    problems: list[str] = []
    found: dict[str, object] = {}
    _take(environ, _VARIABLES, found, problems)
    found["endpoints"] = _endpoints(environ, problems)
    if environ.get("K_SERVICE") and "ledger" not in found:
        problems.append(f"REMEDIATE_LEDGER is not set, but Cloud Run requires it: expected {values.LEDGER.words}")
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
    found: dict[str, object] = {}
    problems: list[str] = []
    _take(environ, HomeNames.__struct_fields__, found, problems)
    problems += _unknown(environ)
    if problems:
        raise BadInput("\n".join(problems), advice="docs/settings.md lists all variables.")
    return msgspec.convert(found, HomeNames)


def _take(environ: Mapping[str, str], fields: Iterable[str], found: dict[str, object], problems: list[str]) -> None:
    """Add the values of these fields to `found`, and what is wrong with a text to `problems`."""
    for field in fields:
        name, accepted = _VARIABLES[field]
        if text := environ.get(name, "").strip():
            value = accepted.parse(text)
            if value is None:
                shown = "..." if accepted.is_secret else repr(text)
                problems.append(f"{name}={shown}: expected {accepted.words}")
            else:
                found[field] = value


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
    known = [name for name, _ in _VARIABLES.values()]
    problems = []
    for name in sorted(environ):
        if name.startswith("REMEDIATE_") and name not in known:
            ends = [each.removeprefix("REMEDIATE_") for each in known]  # the beginning they have in common says nothing
            near = difflib.get_close_matches(name.removeprefix("REMEDIATE_"), ends, 1)
            hint = f"did you mean REMEDIATE_{near[0]}?" if near else f"expected one of {', '.join(known)}"
            problems.append(f"unknown setting {name}: {hint}")
    return problems
