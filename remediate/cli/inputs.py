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
    from remediate.records.remediation import Remediation
    from remediate.records.states import State
    from remediate.settings import Settings

ActorOption = Annotated[str | None, typer.Option("--as", help="Your address. Required with a SQLite ledger.")]
_ALL = "`remediate list` shows all ids."


def current_settings() -> Settings:
    """The settings of this shell's environment."""
    from remediate.settings import load_settings

    return load_settings(os.environ)


def is_embedded(settings: Settings) -> bool:
    """Whether the ledger is a SQLite file, which cannot tell who uses it."""
    return settings.ledger.startswith("sqlite:")


def actor_words(settings: Settings) -> str:
    """The ` --as ...` that a printed command needs; nothing where the credentials tell who types."""
    return " --as you@example.com" if is_embedded(settings) else ""


def current_ledger(settings: Settings | None = None) -> Ledger:
    """The ledger that the settings name. Raises BadInput where the variable names a file that is not there."""
    from remediate.wiring import ledger_from

    settings = settings or current_settings()
    scheme, _, path = settings.ledger.partition(":///")
    if scheme == "sqlite" and "REMEDIATE_LEDGER" in os.environ and not Path(path).exists():
        advice = "The function creates it at REMEDIATE_LEDGER when it starts."
        raise BadInput(f"there is no ledger at {path}", advice=advice)
    return ledger_from(settings)


def require_record(ledger: Ledger, ident: str) -> Remediation:
    """The one remediation whose id begins so, with or without its `r-`."""
    text = ident if ident.startswith("r-") else f"r-{ident}"
    if not re.fullmatch(r"r-[0-9a-f]{1,12}", text):
        raise BadInput(f"{ident!r} is not an id: expected r- and up to 12 of 0-9 and a-f", advice=_ALL)
    found = ledger.by_id_prefix(text)
    if not found:
        raise BadInput(f"there is no remediation {ident!r}", advice=_ALL)
    if len(found) > 1:
        raise BadInput(f"{ident!r} matches several ids: {', '.join(each.id for each in found)}")
    return found[0]


def all_records(ledger: Ledger, states: tuple[State, ...]) -> Iterator[Remediation]:
    """Every remediation in these states, page by page."""
    from remediate.ledger.interface import Filter

    page = ledger.find(Filter(states), limit=500)
    while page:
        yield from page
        page = ledger.find(Filter(states), limit=500, after=page[-1])


def require_reason(reason: str | None, missing: str = "--reason '' is empty; the audit trail needs a reason") -> str:
    """The reason. Raises BadInput with `missing` where there is none."""
    if reason is None or not reason.strip():
        raise BadInput(missing)
    return reason


def reviewer_address(settings: Settings, actor: str | None) -> str:
    """The reviewer: the identity of the caller's credentials; with a SQLite ledger, the address that --as names."""
    from remediate.iam.member import Member, parse_member

    if not is_embedded(settings):
        from remediate.cloud.caller import caller_address

        if os.environ.get("K_SERVICE") or os.environ.get("CLOUD_RUN_JOB"):
            raise Refused("this runs as the service itself, which cannot review its own proposals")
        own = caller_address()
        if actor is not None and _key(actor) != _key(own):
            raise BadInput(f"--as {actor!r}: does not match your credentials, {own}")
        return own
    if actor is None:
        raise BadInput("--as is required", advice="With a SQLite ledger: --as you@example.com")
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
