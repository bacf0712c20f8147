"""Turns a request into the address of whoever makes it: Identity-Aware Proxy's signed word, and nothing else.

Source: "Getting the user's identity" and "Verifying the JWT payload" (Identity-Aware Proxy). The plain
`X-Goog-Authenticated-User-Email` header can be forged by whoever reaches the service, and is never looked at.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import msgspec

from remediate.errors import Refused, TerminalFault, TransientFault
from remediate.iam.member import Member, MemberKind, parse_member

KEYS = "https://www.gstatic.com/iap/verify/public_key"
ISSUER = "https://cloud.google.com/iap"
HEADER = "X-Goog-IAP-JWT-Assertion"
_SKEW = 30  # seconds that clocks may differ
_MAX_AGE = 3600.0  # seconds that the public keys are kept
_MIN_INTERVAL = 60.0  # seconds between two looks at them, whatever keys a token names
_RETRY_INTERVAL = 5.0  # seconds after a look that failed
_GOOGLE = "accounts.google.com:"  # before addresses that Google itself signed in
_MAX_LENGTH = 8192  # characters of a token
_HOST = re.compile(r"\[?([0-9A-Za-z.:-]*?)\]?(?::[0-9]{1,5})?\Z")


class Identity(Protocol):
    """Who makes a request."""

    banner: str
    """What the pages say about how they know; empty where there is nothing to say."""

    def address(self, headers: Mapping[str, str], remote: str | None) -> str:
        """The address of whoever makes the request. Raises Refused where it is not proved."""


class LocalIdentity:
    """On this machine alone, with the embedded ledger: whoever opens the page is the one who was named at start."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.banner = f"This page runs on your machine; you are {address}, and nobody checks that."

    def address(self, headers: Mapping[str, str], remote: str | None) -> str:
        # A page elsewhere may make its own name lead to this machine (DNS rebinding); it cannot change the name.
        host = {name.casefold(): value for name, value in headers.items()}.get("host", "").casefold()
        named = _HOST.sub(r"\1", host)
        if not _is_loopback(remote or "") or not (named == "localhost" or _is_loopback(named)):
            raise Refused("this page has no identity to check, and is for the machine that it runs on alone")
        return self._address


def _is_loopback(address: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return False


class IapIdentity:
    """Identity-Aware Proxy's JWT, verified: ES256, its keys, issuer, audience and time; the e-mail from it alone."""

    banner = ""

    def __init__(
        self,
        audience: str,
        fetch: Callable[[], bytes],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audience = audience
        self._fetch = fetch
        self._now = now
        self._monotonic = monotonic
        self._refreshing = threading.Lock()
        self._keys: dict[str, str] = {}
        self._fetched = self._failed = float("-inf")

    def address(self, headers: Mapping[str, str], remote: str | None) -> str:
        del remote
        token = {name.casefold(): value for name, value in headers.items()}.get(HEADER.casefold(), "")
        header, claims = _decode_claims(token)
        key = self._public_key(header.kid) if header.alg == "ES256" and header.kid else None
        if key is None or not _has_valid_signature(token, key):
            raise Refused("the identity of this request is not signed by Identity-Aware Proxy")
        now = self._now()
        if claims.iss != ISSUER or claims.aud != self._audience:
            raise Refused("the identity of this request is for somebody else")
        if not claims.iat - _SKEW <= now <= claims.exp + _SKEW:
            raise Refused("the identity of this request is out of time; load the page again")
        # Before an external identity stands the tenant that vouches for it, which may let anybody sign up.
        address = claims.email.removeprefix(_GOOGLE)
        person = None if ":" in address else parse_member(address)
        if not isinstance(person, Member) or person.kind is MemberKind.PRINCIPAL:
            raise Refused("the identity of this request names no address")
        return person.id.partition(":")[2]

    def _public_key(self, kid: str) -> str | None:
        """The public key of this name; looked for again where it is new, as keys are rotated.

        One thread looks, and whoever has a key that is held does not wait. A look that fails leaves what is held.
        """
        if self._needs_refresh(kid) and self._refreshing.acquire(blocking=kid not in self._keys):
            try:
                if self._needs_refresh(kid):
                    self._refresh_keys()
            finally:
                self._refreshing.release()
        if not self._keys:
            raise TransientFault("Identity-Aware Proxy's public keys cannot be had just now")
        return self._keys.get(kid)

    def _needs_refresh(self, kid: str) -> bool:
        now = self._monotonic()
        age = now - self._fetched
        return now - self._failed >= _RETRY_INTERVAL and (
            age >= _MAX_AGE or (kid not in self._keys and age >= _MIN_INTERVAL)
        )

    def _refresh_keys(self) -> None:
        try:
            self._keys = msgspec.json.decode(self._fetch(), type=dict[str, str])
            self._fetched = self._monotonic()
        except (TransientFault, TerminalFault, msgspec.MsgspecError):
            self._failed = self._monotonic()


class _Header(msgspec.Struct):
    alg: str = ""
    kid: str = ""


class _Claims(msgspec.Struct):
    iss: str = ""
    aud: str = ""
    email: str = ""
    iat: float = float("inf")
    exp: float = float("-inf")


def _decode_claims(token: str) -> tuple[_Header, _Claims]:
    """Header and claims, not yet verified. Raises Refused where they are none."""
    pieces = token.split(".")
    if len(token) > _MAX_LENGTH or len(pieces) != 3:
        raise Refused("this request bears no identity")
    try:
        decoded = [base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)) for piece in pieces[:2]]
        return msgspec.json.decode(decoded[0], type=_Header), msgspec.json.decode(decoded[1], type=_Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise Refused("this request bears no identity") from None


def _has_valid_signature(token: str, key: str) -> bool:
    """Whether the token is signed with the private half of this key, by Google's own library."""
    from google.auth.crypt import es

    signed, _, signature = token.rpartition(".")
    try:
        verifier = es.EsVerifier.from_string(key)
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except (TypeError, ValueError, binascii.Error):
        return False
    return bool(verifier.verify(signed.encode(), raw))
