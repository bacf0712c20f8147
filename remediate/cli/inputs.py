"""What commands work on: settings, the ledger and its records, policies, exported logs, and who types."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remediate.errors import BadInput, Refused, Unreadable

if TYPE_CHECKING:
    from remediate.decisions.organization import HomeNames
    from remediate.decisions.policy_file import FileRules
    from remediate.entries.export import Broken
    from remediate.entries.log_entry import LogEntry
    from remediate.ledger.interface import Ledger
    from remediate.records.remediation import Remediation, State
    from remediate.settings import Settings

ActorOption = Annotated[str | None, typer.Option("--as", help="Who you are: an address. Needed with SQLite.")]
_ALL = "`python -m remediate list` shows all."


def current_settings() -> Settings:
    """The settings of this shell's environment."""
    from remediate.settings import load_settings

    return load_settings(os.environ)


def is_embedded(settings: Settings) -> bool:
    """Whether the ledger is a SQLite file, which cannot tell who uses it."""
    return settings.ledger.startswith("sqlite:")


def current_ledger(settings: Settings | None = None) -> Ledger:
    """The ledger that the settings name. Raises BadInput where the variable names a file that is not there."""
    from remediate.wiring import ledger_from

    settings = settings or current_settings()
    scheme, _, path = settings.ledger.partition(":///")
    if scheme == "sqlite" and "REMEDIATE_LEDGER" in os.environ and not Path(path).exists():
        advice = "The function makes it when it starts; REMEDIATE_LEDGER says where."
        raise BadInput(f"there is no ledger at {path}", advice=advice)
    return ledger_from(settings)


def require_record(ledger: Ledger, ident: str) -> Remediation:
    """The one remediation whose id begins so, with or without its `r-`."""
    text = ident if ident.startswith("r-") else f"r-{ident}"
    if not re.fullmatch(r"r-[0-9a-f]{1,12}", text):
        raise BadInput(f"{ident!r} is no id: expected r- and up to twelve of 0-9 and a-f", advice=_ALL)
    found = ledger.named(text)
    if not found:
        raise BadInput(f"there is no remediation {ident!r}", advice=_ALL)
    if len(found) > 1:
        raise BadInput(f"{ident!r} is the beginning of several ids: {', '.join(each.id for each in found)}")
    return found[0]


def all_records(ledger: Ledger, states: tuple[State, ...]) -> Iterator[Remediation]:
    """Every remediation in these states, page by page."""
    from remediate.ledger.interface import Filter

    page = ledger.find(Filter(states), limit=500)
    while page:
        yield from page
        page = ledger.find(Filter(states), limit=500, after=page[-1])


def require_reason(reason: str | None, missing: str = "--reason '': say why; it stands on the trail") -> str:
    """The reason. Raises BadInput with `missing` where there is none."""
    if reason is None or not reason.strip():
        raise BadInput(missing)
    return reason


def reviewer_address(settings: Settings, actor: str | None) -> str:
    """Who reviews: by the caller's own credentials. With the embedded ledger the caller says so; nothing else could."""
    from remediate.iam.member import Member, parse_member

    if not is_embedded(settings):
        from remediate.cloud.caller import caller_address

        if os.environ.get("K_SERVICE") or os.environ.get("CLOUD_RUN_JOB"):
            raise Refused("this runs as the service itself, and what it does may not be approved by it")
        own = caller_address()
        if actor is not None and _key(actor) != _key(own):
            raise BadInput(f"--as {actor!r}: with this ledger you are who your credentials say, {own}")
        return own
    if actor is None:
        raise BadInput("say who you are", advice="With the embedded ledger: --as you@example.com")
    if not isinstance(parse_member(actor), Member):
        raise BadInput(f"--as {actor!r}: expected the address of a user or service account")
    return actor


def _key(address: str) -> str:
    from remediate.iam.member import Member, parse_member

    person = parse_member(address)
    return person.key if isinstance(person, Member) else address


def own_names() -> HomeNames:
    """The domains and workforce pools that the environment names as ours."""
    from remediate.settings import names_from

    return names_from(os.environ)


def read_text(file: str) -> str:
    """The text of a policy file, or of its cases: on this machine or at gs://."""
    from remediate.cloud.storage import read_policy
    from remediate.settings import endpoint

    return read_policy(file, endpoint(os.environ, "STORAGE"))


def read_rules(file: str) -> FileRules:
    """The rules of a policy file. Raises BadInput that names every problem."""
    from remediate.decisions.policy_file import parse_policy

    return parse_policy(read_text(file), file)


def log_entries(name: str, advance: Callable[[int], None] = lambda _: None) -> Iterator[LogEntry | Broken]:
    """Every entry of an exported log, and every piece of it that cannot be read, in order."""
    from remediate.entries.envelope import entries_in
    from remediate.entries.export import Broken, documents
    from remediate.entries.log_entry import read_entry

    for piece in documents(name, advance):
        if isinstance(piece, Broken):
            yield piece
            continue
        try:
            raw_entries = entries_in(piece.data)
        except Unreadable as error:
            yield Broken(piece.line, str(error))
            continue
        for raw in raw_entries:
            try:
                entry = read_entry(raw)
            except Unreadable as error:
                yield Broken(piece.line, str(error))
            else:
                yield entry
