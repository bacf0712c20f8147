"""The `review` function: inbox, proposal, trail and mode as pages, and what a reviewer says as POSTs.

Works without JavaScript, loads nothing from elsewhere, changes nothing on a GET. Every change is the remediator's: who
may do what, and whether the page is stale, is decided there, where the write happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import flask
import jinja2
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from remediate.errors import BadInput, Refused, RemediateError, TerminalFault, TransientFault
from remediate.ledger.interface import Filter, Ledger
from remediate.modes import EVERYWHERE, scope_of
from remediate.policy import Mode
from remediate.remediation import Remediation, State, TrailRecord, content_digest
from remediate.remediator import Remediator
from remediate.review.identity import Identity
from remediate.review.texts import LONGEST_REASON, duration, equivalents, links, relative, sentence

_FOLDER = Path(__file__).parent
_CSRF_AGE = 12 * 3600  # seconds that a page may lie open before it is acted on
_MOST = 500  # open proposals that an inbox shows
_PAGE = 100
_TRAIL = 500
_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_URLS = Map(
    [
        Rule("/", endpoint="inbox", methods=["GET"]),
        Rule("/healthz", endpoint="healthz", methods=["GET"]),
        Rule("/style.css", endpoint="style", methods=["GET"]),
        Rule("/approve", endpoint="approve_many", methods=["POST"]),
        Rule("/r/<ident>", endpoint="proposal", methods=["GET"]),
        Rule("/r/<ident>/approve", endpoint="approve", methods=["POST"]),
        Rule("/r/<ident>/reject", endpoint="reject", methods=["POST"]),
        Rule("/r/<ident>/revoke", endpoint="revoke", methods=["POST"]),
        Rule("/trail", endpoint="trail", methods=["GET"]),
        Rule("/mode", endpoint="mode", methods=["GET"]),
        Rule("/mode", endpoint="switch", methods=["POST"]),
    ],
    strict_slashes=False,
)


class Review:
    """The pages over one remediator and its ledger. `secret` signs what a form carries back."""

    def __init__(
        self,
        remediator: Remediator,
        ledger: Ledger,
        identity: Identity,
        secret: str,
        clock: Callable[[], datetime],
        *,
        configured: Mode | None,
        lapse_after: timedelta,
    ) -> None:
        self._remediator = remediator
        self._ledger = ledger
        self._identity = identity
        self._signer = URLSafeTimedSerializer(secret, salt="review-form")
        self._now = clock
        self._configured = configured
        self._lapse_after = lapse_after
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["relative"] = lambda text: relative(text, self._now())

    def answer(self, request: flask.Request) -> flask.Response:
        """The response to any request; nothing but `/healthz` is told to anybody without an identity."""
        try:
            endpoint, values = _URLS.bind_to_environ(request.environ).match()
            if endpoint == "healthz":
                return self._sent("ok\n", content_type="text/plain")
            who = self._identity.address(dict(request.headers), request.remote_addr)
            return self._routed(endpoint, request, who, dict(values))
        except Refused as error:
            return self._sent(f"{error}\n", 403, content_type="text/plain; charset=utf-8")
        except TransientFault as error:
            return self._sent(f"{error}\n", 503, content_type="text/plain; charset=utf-8")
        except (NotFound, MethodNotAllowed) as error:
            return self._sent(f"{error.name}\n", error.code or 404, content_type="text/plain; charset=utf-8")
        except HTTPException as error:  # a redirect of the router's
            return self._sent("", error.code or 400)

    def _routed(self, endpoint: str, request: flask.Request, who: str, values: dict[str, str]) -> flask.Response:
        if request.method == "POST" and not self._from_our_form(request, who):
            return self._page("message.html", who, 403, title="Nothing was changed", text=_EXPIRED)
        match endpoint:
            case "style":
                return self._sent((_FOLDER / "style.css").read_text(), content_type="text/css; charset=utf-8")
            case "proposal":
                return self._proposal(values["ident"], who, done=request.args.get("done", ""))
            case "approve" | "reject" | "revoke":
                return self._decided(endpoint, values["ident"], request, who)
            case "approve_many":
                return self._approved_many(request, who)
            case "trail":
                return self._trail(request, who)
            case "mode" | "switch":
                return self._mode(request, who)
            case _:
                return self._inbox(request, who)

    # Pages

    def _inbox(self, request: flask.Request, who: str, told: Sequence[str] = ()) -> flask.Response:
        wanted, text = request.args.get("state", "proposed"), request.args.get("q", "").strip()
        states = (State(wanted),) if wanted in list(State) else ()
        found = self._ledger.find(Filter(states), limit=_MOST)
        words = text.casefold().split()
        shown = [each for each in found if all(word in _searched(each) for word in words)]
        if wanted == State.PROPOSED:
            shown.sort(key=lambda each: each.updated)
        return self._page(
            "inbox.html",
            who,
            shown=[(each, content_digest(each), self._deadline(each)) for each in shown],
            wanted=wanted,
            states=list(State),
            q=text,
            more=len(found) == _MOST,
            told=told,
        )

    def _proposal(
        self, ident: str, who: str, *, done: str = "", problem: str = "", advice: str = "", code: int = 200
    ) -> flask.Response:
        record = self._ledger.get(ident)
        if record is None:
            return self._page("message.html", who, 404, title="There is no such remediation", text=ident)
        change, unknown = None, ""
        if record.state in (State.PROPOSED, State.FAILED, State.APPROVED):
            try:
                change = self._remediator.proposal(ident).policy
            except (TerminalFault, TransientFault) as fault:
                unknown = str(fault)
        barred = ""
        try:
            self._remediator.may_review(ident, who)
        except RemediateError as error:
            barred = str(error)
        partners = [each for each in map(self._ledger.get, record.partners) if each]
        return self._page(
            "proposal.html",
            who,
            code,
            record=record,
            sentence=sentence(record, self._now()),
            content=content_digest(record),
            deadline=self._deadline(record),
            change=change,
            unknown=unknown,
            barred=barred,
            partners=partners,
            steps=list(self._ledger.trail(ident)),
            links=links(record),
            equivalents=equivalents(record),
            done=done if done in (*State, "approved") else "",
            problem=problem,
            advice=advice,
        )

    def _trail(self, request: flask.Request, who: str) -> flask.Response:
        names = ("actor", "repository", "member", "since", "until")
        wanted = {name: request.args.get(name, "").strip() for name in names}
        steps = [step for step in self._ledger.recent(_TRAIL * 20) if _of_interest(step, wanted)][:_TRAIL]
        match request.args.get("format"):
            case "json":
                import msgspec

                return self._sent(msgspec.json.encode(steps).decode(), content_type="application/json")
            case "csv":
                from remediate.cli.output import csv_text

                columns = ("at", "remediation", "before", "after", "actor", "member", "repository", "reasons", "note")
                rows = (
                    (s.at, s.remediation, s.before, s.after, s.actor, s.member, s.repository, why, s.note)
                    for s in steps
                    for why in [" ".join(s.reasons)]
                )
                return self._sent(csv_text(columns, rows), content_type="text/csv; charset=utf-8")
        query = "&".join(f"{name}={quote(value)}" for name, value in wanted.items() if value)
        return self._page("trail.html", who, steps=steps, wanted=wanted, query=query, most=_TRAIL)

    def _mode(self, request: flask.Request, who: str) -> flask.Response:
        problem, code = "", 200
        if request.method == "POST":
            form = request.form
            try:
                scope = scope_of(form.get("scope", "").strip() or EVERYWHERE)
                to = {"dry-run": Mode.DRY_RUN, "enforce": Mode.ENFORCE, "clear": None}
                if form.get("mode") not in to or not form.get("reason", "").strip():
                    raise BadInput("choose what to switch to, and say why")
                self._remediator.switch(scope, to[form["mode"]], actor=who, note=form["reason"][:LONGEST_REASON])
                return self._see("/mode")
            except RemediateError as error:
                problem, code = str(error), 409
        last = {change.scope: change for change in self._ledger.mode_changes()}
        switches = sorted(self._ledger.modes().switches.items())
        return self._page(
            "mode.html", who, code, switches=switches, last=last, configured=self._configured, problem=problem
        )

    # What a reviewer says

    def _decided(self, what: str, ident: str, request: flask.Request, who: str) -> flask.Response:
        form, reason = request.form, request.form.get("reason", "").strip()[:LONGEST_REASON]
        try:
            if what == "approve":
                lasts = duration(form.get("lasts", ""))
                content = form.get("content", "")
                done = self._remediator.approve(ident, actor=who, note=reason, lasts=lasts, content=content).remediation
            elif not reason:
                raise BadInput("say why; it stands on the trail")
            elif what == "reject":
                done = self._remediator.reject(ident, actor=who, note=reason)
            else:
                done = self._remediator.revoke(ident, actor=who, note=reason)
        except (Refused, BadInput, TerminalFault) as error:
            return self._proposal(ident, who, problem=str(error), advice=error.advice, code=409)
        return self._see(f"/r/{done.id}?done={done.state}")

    def _approved_many(self, request: flask.Request, who: str) -> flask.Response:
        told = []
        for item in request.form.getlist("item")[:_PAGE]:
            ident, _, content = item.partition("@")
            try:
                done = self._remediator.approve(ident, actor=who, content=content).remediation
                told.append(f"{done.id}: {done.state}, {done.member}")
            except RemediateError as error:
                told.append(f"{ident}: not approved: {error}")
        return self._inbox(request, who, told or ["Nothing was selected."])

    # Plumbing

    def _deadline(self, record: Remediation) -> str:
        """When a proposal lapses, RFC 3339; empty for what does not."""
        if record.state is not State.PROPOSED:
            return ""
        return (datetime.fromisoformat(record.updated) + self._lapse_after).isoformat()

    def _from_our_form(self, request: flask.Request, who: str) -> bool:
        try:
            return bool(self._signer.loads(request.form.get("token", ""), max_age=_CSRF_AGE) == who)
        except BadSignature:
            return False

    def _page(self, template: str, who: str, code: int = 200, **values: object) -> flask.Response:
        token = self._signer.dumps(who)
        html = self._templates.get_template(template).render(
            who=who, banner=self._identity.banner, token=token, **values
        )
        return self._sent(html, code)

    def _see(self, path: str) -> flask.Response:
        response = self._sent("", 303)
        response.headers["Location"] = path
        return response

    def _sent(self, body: str, code: int = 200, *, content_type: str = "text/html; charset=utf-8") -> flask.Response:
        response = flask.Response(body, code, content_type=content_type)
        response.headers.update(_HEADERS)
        return response


_EXPIRED = "The page was too old, or it was opened by somebody else. Go back, load it again, and say it once more."


def _searched(record: Remediation) -> str:
    projects = " ".join(each.project or each.number or "" for each in record.deploys)
    return f"{record.id} {record.member} {record.repository} {projects}".casefold()


def _of_interest(step: TrailRecord, wanted: dict[str, str]) -> bool:
    texts = {"actor": step.actor, "repository": step.repository, "member": step.member}
    held = all(wanted[name].casefold() in text.casefold() for name, text in texts.items())
    return (
        held
        and (not wanted["since"] or step.at >= wanted["since"])
        and (not wanted["until"] or step.at < wanted["until"])
    )
