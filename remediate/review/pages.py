"""The `review` function: one request in, one page out; who asks, whether the form is ours, and what a browser may do.

Works without JavaScript, loads nothing from elsewhere, changes nothing on a GET. Every change is the remediator's: who
may do what, and whether the page is stale, is decided there, where the write happens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import flask
import jinja2
from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from remediate.decisions.policy import Mode
from remediate.errors import LedgerFault, Refused, TerminalFault, TransientFault
from remediate.ledger.interface import Ledger
from remediate.records.results import Limits
from remediate.review import access_map, bulk, inbox, mode, proposal, trail
from remediate.review.body import restore, withhold
from remediate.review.context import LONGEST, Answer, Desk, Download, Elsewhere, View
from remediate.review.formatting import breakable, exact, person, relative, short
from remediate.review.identity import Identity
from remediate.service.remediator import Remediator

_FOLDER = Path(__file__).parent
_CSRF_AGE = 12 * 3600  # seconds that a page may lie open before it is acted on
_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OURS = ("same-origin", "none")  # what a browser calls the origin of a form that is ours, in Sec-Fetch-Site
_URLS = Map(
    [
        Rule("/", endpoint="inbox", methods=["GET"]),
        Rule("/healthz", endpoint="healthz", methods=["GET"]),
        Rule("/style.css", endpoint="style", methods=["GET"]),
        Rule("/icon.svg", endpoint="icon", methods=["GET"]),
        Rule("/approve", endpoint="approve_selected", methods=["POST"]),
        Rule("/reject", endpoint="reject_selected", methods=["POST"]),
        Rule("/r/<ident>", endpoint="proposal", methods=["GET"]),
        Rule("/r/<ident>/approve", endpoint="approve", methods=["POST"]),
        Rule("/r/<ident>/reject", endpoint="reject", methods=["POST"]),
        Rule("/r/<ident>/revoke", endpoint="revoke", methods=["POST"]),
        Rule("/trail", endpoint="trail", methods=["GET"]),
        Rule("/map", endpoint="map", methods=["GET"]),
        Rule("/mode", endpoint="mode", methods=["GET"]),
        Rule("/mode", endpoint="switch", methods=["POST"]),
    ],
    strict_slashes=False,
    merge_slashes=False,
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
        limits: Limits,
    ) -> None:
        self._desk = Desk(remediator, ledger, clock, configured, limits)
        self._identity = identity
        self._forms = URLSafeTimedSerializer(secret, salt="review-form")
        self._notes = URLSafeSerializer(secret, salt="review-note")
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "ahead": lambda text, hours=0: datetime.fromisoformat(text) - clock() > timedelta(hours=hours),
            "relative": lambda text: relative(text, clock()),
            "breakable": breakable,
            "exact": exact,
            "person": person,
            "short": short,
        }

    def answer(self, request: flask.Request) -> flask.Response:
        """The response to any request; nothing but `/healthz` is told to anybody without an identity."""
        withhold(request)
        who = ""
        try:
            endpoint, values = _URLS.bind_to_environ(request.environ).match()
            if endpoint == "healthz":
                return self._sent("ok\n", content_type="text/plain; charset=utf-8")
            who = self._identity.address(dict(request.headers), request.remote_addr)
            return self._routed(endpoint, request, who, dict(values))
        except Refused as error:
            return self._failed(403, str(error), _IDENTITY, who)
        except TransientFault as fault:
            return self._failed(503, str(fault), _AGAIN, who)
        except TerminalFault as fault:
            return self._failed(502, str(fault), _FINAL, who)
        except LedgerFault as fault:
            return self._failed(500, str(fault), fault.advice, who)
        except HTTPException as error:
            who = who or self._known(request)
            advice = {405: _WRONG_WAY, 413: _SHORTER}.get(error.code or 0, "")
            response = self._failed(error.code or 400, _SAID.get(error.code or 0, ""), advice, who)
            if isinstance(error, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response

    def failed(self, request: flask.Request) -> flask.Response:
        """The response where something unexpected happened; what, stands in the log."""
        return self._failed(500, "Something unexpected happened; it is in the log.", _AGAIN, self._known(request))

    def _known(self, request: flask.Request) -> str:
        """Who asks, where they are known: an error's page shows the way back to nobody else."""
        with suppress(Exception):  # whatever is wrong with it was told already
            return self._identity.address(dict(request.headers), request.remote_addr)
        return ""

    def _routed(self, endpoint: str, request: flask.Request, who: str, values: dict[str, str]) -> flask.Response:
        if request.method == "POST":
            restore(request)
        if request.method == "POST" and not self._from_our_form(request, who):
            return self._failed(403, _NOT_OURS, _OLD, who)
        match endpoint:
            case "style":
                return self._file("style.css", "text/css; charset=utf-8")
            case "icon":
                return self._file("icon.svg", "image/svg+xml")
            case _:
                return self._shown(self._asked(endpoint, request, who, values.get("ident", "")), who)

    def _asked(self, endpoint: str, request: flask.Request, who: str, ident: str) -> Answer:
        desk = self._desk
        match endpoint:
            case "proposal":
                return proposal.proposal(desk, ident, who)
            case "approve":
                return proposal.approve(desk, ident, request, who)
            case "reject":
                return proposal.reject(desk, ident, request, who)
            case "revoke":
                return proposal.revoke(desk, ident, request, who)
            case "approve_selected":
                return bulk.approve_together(desk, request, who, self._notes)
            case "reject_selected":
                return bulk.reject_together(desk, request, who, self._notes)
            case "trail":
                return trail.trail(desk, request)
            case "map":
                return access_map.map_page(desk, request)
            case "mode":
                return mode.mode(desk, who)
            case "switch":
                return mode.switch(desk, request, who)
            case _:
                return inbox.inbox(desk, request, who, self._notes)

    def _shown(self, answer: Answer, who: str) -> flask.Response:
        match answer:
            case Elsewhere(path):
                response = self._sent("", 303)
                response.headers["Location"] = path
                return response
            case Download(name, body, content_type):
                response = self._sent(body, content_type=content_type)
                response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
                return response
            case View(template, values, code):
                return self._page(template, who, code, **values)

    def _from_our_form(self, request: flask.Request, who: str) -> bool:
        """Whether the form bears a token that was signed for this person; a browser's own word is taken besides."""
        if request.headers.get("Sec-Fetch-Site", "none") not in _OURS:
            return False
        try:
            return bool(self._forms.loads(request.form.get("token", ""), max_age=_CSRF_AGE) == who)
        except BadSignature:
            return False

    def _failed(self, code: int, text: str, advice: str, who: str) -> flask.Response:
        title = HTTPStatus(code).phrase if code in list(HTTPStatus) else "Error"
        return self._page("message.html", who, code, title=f"{code} {title}", text=text, advice=advice)

    def _page(self, template: str, who: str, code: int = 200, **values: object) -> flask.Response:
        always = {"who": who, "banner": self._identity.banner if who else "", "longest": LONGEST}
        token = self._forms.dumps(who) if who else ""
        return self._sent(self._templates.get_template(template).render(**always, token=token, **values), code)

    def _file(self, name: str, content_type: str) -> flask.Response:
        return self._sent((_FOLDER / name).read_text(), content_type=content_type)

    def _sent(self, body: str, code: int = 200, *, content_type: str = "text/html; charset=utf-8") -> flask.Response:
        response = flask.Response(body, code, content_type=content_type)
        response.headers.update(_HEADERS)
        return response


_IDENTITY = "Open the page by the address that leads through Identity-Aware Proxy, and sign in there."
_AGAIN = "Load the page again in a moment. Nothing is lost."
_FINAL = "It will answer the same again: whoever runs this has to look at its rights and settings."
_WRONG_WAY = "Forms are sent from their own page: go back to it."
_SHORTER = "Select fewer proposals, or give a shorter reason."
_NOT_OURS = "Nothing was changed: the page was too old, or somebody else opened it."
_OLD = "Go back, load it again, and say it once more."
_SAID = {
    404: "There is no such page.",
    405: "This address takes no such request.",
    413: "The form is too large: at most 64 KiB are read. Nothing was changed.",
}
