"""Sends notices to an incoming webhook of Slack or Google Chat: one JSON POST, and no error contains its URL.

The URL is a secret: anyone who has it can post. The standard library keeps it out of errors and log lines; urllib3
writes a warning with the whole URL when the headers of an answer are malformed.
Sources: "Sending messages using incoming webhooks" and "Rate limits" (Slack); "Send messages to Google Chat with
incoming webhooks".
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO

import msgspec

from remediate.notify.cards import Card
from remediate.notify.interface import DeliveryFailed
from remediate.records.notice import Notice

_TIMEOUT = 5.0  # seconds to connect, and for each read
_MANY = 6


class Webhook:
    """A Channel for one URL; `card` renders the body. More than five waiting notices go into one post."""

    digest_threshold = _MANY
    for_people = True

    def __init__(self, name: str, url: str, card: Callable[[Sequence[Notice]], Card]) -> None:
        self.name = name
        self._url = url
        self._card = card
        # Without TLS the receiver is on this machine, and no proxy must see the request.
        direct = [urllib.request.ProxyHandler({})] if url.startswith("http://") else []
        self._opener = urllib.request.build_opener(_NoRedirect, *direct)

    def send(self, notices: Sequence[Notice]) -> None:
        body = msgspec.json.encode(self._card(notices))
        headers = {"Content-Type": "application/json; charset=UTF-8", "User-Agent": "remediate"}
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310  (checked in settings)
        try:
            with self._opener.open(request, timeout=_TIMEOUT):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            kind = type(cause if isinstance(cause, BaseException) else error).__name__
            raise DeliveryFailed(f"{self.name}: no answer ({kind})") from None

    def _refused(self, error: urllib.error.HTTPError) -> DeliveryFailed:
        after = _retry_after(error.headers.get("Retry-After"))
        # Any other 4xx concerns this message only, or the webhook is gone; only another message can show which.
        down = error.code < 400 or error.code >= 500 or error.code in (401, 403, 404, 410, 429)
        return DeliveryFailed(f"{self.name}: HTTP {error.code}", down=down, after=after)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is a fault: only the settings choose the receiver."""

    def redirect_request(
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: http.client.HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        return None


def _retry_after(value: str | None) -> timedelta | None:
    """Parse seconds or a date (RFC 9110, "Retry-After"); None for anything else."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return timedelta(seconds=min(int(value.strip()[:9]), 86_400))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(aware - datetime.now(UTC), timedelta(0))
