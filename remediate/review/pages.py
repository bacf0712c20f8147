"""The `review` function: routing, caller identity, form tokens and security headers.

Works without JavaScript, loads nothing from other origins, changes nothing on a GET. The remediator makes every
change; it also checks permissions and stale pages, in the same place as the write.
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
from remediate.review.context import LONGEST, Answer, Attachment, HtmlPage, PageContext, Redirect
from remediate.review.formatting import exact_time, member_label, relative_time, repository_label, with_breaks
from remediate.review.identity import Identity
from remediate.service.remediator import Remediator
from remediate.times import parse_time

_FOLDER = Path(__file__).parent
_CSRF_AGE = 12 * 3600  # seconds that a form token is valid
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
_SAME_ORIGIN = ("same-origin", "none")  # values of Sec-Fetch-Site for a form of these pages
_URLS = Map(
    [
        Rule("/", endpoint="inbox", methods=["GET"]),
        Rule("/health", endpoint="health", methods=["GET"]),
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
    """The pages of one remediator and its ledger. `secret` signs form tokens and bulk results."""

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
        self._context = PageContext(remediator, ledger, clock, configured, limits)
        self._identity = identity
        self._forms = URLSafeTimedSerializer(secret, salt="review-form")
        self._results = URLSafeSerializer(secret, salt="review-note")
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "is_ahead": lambda text, hours=0: parse_time(text) - clock() > timedelta(hours=hours),
            "relative_time": lambda text: relative_time(text, clock()),
            "with_breaks": with_breaks,
            "exact_time": exact_time,
            "member_label": member_label,
            "repository_label": repository_label,
        }

    def answer(self, request: flask.Request) -> flask.Response:
        """The response to any request; without an identity, only `/health` answers."""
        withhold(request)
        who = ""
        try:
            endpoint, values = _URLS.bind_to_environ(request.environ).match()
            if endpoint == "health":
                return self._response("ok\n", content_type="text/plain; charset=utf-8")
            who = self._identity.address(dict(request.headers), request.remote_addr)
            return self._route(endpoint, request, who, dict(values))
        except Refused as error:
            return self._error_page(403, str(error), _SIGN_IN, who)
        except TransientFault as fault:
            return self._error_page(503, str(fault), fault.advice or _RETRY_SOON, who)
        except TerminalFault as fault:
            return self._error_page(502, str(fault), _CHECK_SETUP, who)
        except LedgerFault as fault:
            return self._error_page(500, str(fault), fault.advice, who)
        except HTTPException as error:
            who = who or self._known_person(request)
            advice = {405: _USE_FORM, 413: _SHORTER}.get(error.code or 0, "")
            response = self._error_page(error.code or 400, _ERROR_TEXTS.get(error.code or 0, ""), advice, who)
            if isinstance(error, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response

    def failed(self, request: flask.Request) -> flask.Response:
        """The response to an unexpected error; the log has the details."""
        return self._error_page(
            500, "Unexpected error. The service log has the details.", _RETRY_SOON, self._known_person(request)
        )

    def _known_person(self, request: flask.Request) -> str:
        """The caller, or empty: an error page links to the inbox only for an identified caller."""
        with suppress(Exception):  # the error page already reports another fault
            return self._identity.address(dict(request.headers), request.remote_addr)
        return ""

    def _route(self, endpoint: str, request: flask.Request, who: str, values: dict[str, str]) -> flask.Response:
        if request.method == "POST":
            restore(request)
        if request.method == "POST" and not self._has_valid_token(request, who):
            return self._error_page(403, _INVALID_FORM, _RELOAD, who)
        match endpoint:
            case "style":
                return self._static_file("style.css", "text/css; charset=utf-8")
            case "icon":
                return self._static_file("icon.svg", "image/svg+xml")
            case _:
                return self._render(self._dispatch(endpoint, request, who, values.get("ident", "")), who)

    def _dispatch(self, endpoint: str, request: flask.Request, who: str, ident: str) -> Answer:
        context = self._context
        match endpoint:
            case "proposal":
                return proposal.proposal_page(context, ident, who)
            case "approve":
                return proposal.approve(context, ident, request, who)
            case "reject":
                return proposal.reject(context, ident, request, who)
            case "revoke":
                return proposal.revoke(context, ident, request, who)
            case "approve_selected":
                return bulk.bulk_approve(context, request, who, self._results)
            case "reject_selected":
                return bulk.bulk_reject(context, request, who, self._results)
            case "trail":
                return trail.trail_page(context, request)
            case "map":
                return access_map.map_page(context, request)
            case "mode":
                return mode.mode_page(context, who)
            case "switch":
                return mode.switch_mode(context, request, who)
            case _:
                return inbox.inbox_page(context, request, who, self._results)

    def _render(self, answer: Answer, who: str) -> flask.Response:
        match answer:
            case Redirect(path):
                response = self._response("", 303)
                response.headers["Location"] = path
                return response
            case Attachment(name, body, content_type):
                response = self._response(body, content_type=content_type)
                response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
                return response
            case HtmlPage(template, values, code):
                return self._page(template, who, code, **values)

    def _has_valid_token(self, request: flask.Request, who: str) -> bool:
        """Whether the form has a token signed for this person, and the browser reports no other site as its origin."""
        if request.headers.get("Sec-Fetch-Site", "none") not in _SAME_ORIGIN:
            return False
        try:
            return bool(self._forms.loads(request.form.get("token", ""), max_age=_CSRF_AGE) == who)
        except BadSignature:
            return False

    def _error_page(self, code: int, text: str, advice: str, who: str) -> flask.Response:
        title = HTTPStatus(code).phrase if code in list(HTTPStatus) else "Error"
        return self._page("message.html", who, code, title=f"{code} {title}", text=text, advice=advice)

    def _page(self, template: str, who: str, code: int = 200, **values: object) -> flask.Response:
        always = {"who": who, "banner": self._identity.banner if who else "", "longest": LONGEST}
        token = self._forms.dumps(who) if who else ""
        return self._response(self._templates.get_template(template).render(**always, token=token, **values), code)

    def _static_file(self, name: str, content_type: str) -> flask.Response:
        return self._response((_FOLDER / name).read_text(), content_type=content_type)

    def _response(
        self, body: str, code: int = 200, *, content_type: str = "text/html; charset=utf-8"
    ) -> flask.Response:
        response = flask.Response(body, code, content_type=content_type)
        response.headers.update(_HEADERS)
        return response


_SIGN_IN = "Open the address behind Identity-Aware Proxy and sign in."
_RETRY_SOON = "Reload the page in a moment. No data is lost."
_CHECK_SETUP = "A reload does not help. An operator must check the permissions and settings of remediate."
_USE_FORM = "Go back and submit the form on its page."
_SHORTER = "Select fewer proposals, or enter a shorter reason."
_INVALID_FORM = "Nothing changed: the form expired, or it belongs to another person."
_RELOAD = "Reload the page and submit again."
_ERROR_TEXTS = {
    404: "Page not found.",
    405: "Method not allowed.",
    413: "The form is larger than 64 KiB. Nothing changed.",
}
