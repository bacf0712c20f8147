"""Identifies the caller of a request, only from the signed assertion of Identity-Aware Proxy.

Source: "Getting the user's identity" and "Verifying the JWT payload" (Identity-Aware Proxy). The plain
`X-Goog-Authenticated-User-Email` header can be forged by any caller that reaches the service, and is never read.
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

from remediate.decoding import decode_json
from remediate.errors import Refused, TerminalFault, TransientFault
from remediate.iam.member import Member, MemberKind, parse_member

KEYS = "https://www.gstatic.com/iap/verify/public_key"
ISSUER = "https://cloud.google.com/iap"
HEADER = "X-Goog-IAP-JWT-Assertion"
_SKEW = 30  # seconds that clocks may differ
_MAX_AGE = 3600.0  # seconds that the public keys are kept
_MIN_INTERVAL = 60.0  # seconds between two fetches, also for unknown key ids
_RETRY_INTERVAL = 5.0  # seconds after a failed fetch
_GOOGLE = "accounts.google.com:"  # prefix of addresses that Google itself signed in
_MAX_LENGTH = 8192  # characters of a token
_HOST = re.compile(r"\[?([0-9A-Za-z.:-]*?)\]?(?::[0-9]{1,5})?\Z")


class Identity(Protocol):
    """Identifies the caller of a request."""

    banner: str
    """A notice about the identity on every page; empty when none is needed."""

    def address(self, headers: Mapping[str, str], remote: str | None) -> str:
        """The address of the caller. Raises Refused when it is not proven."""


class LocalIdentity:
    """Only for this machine with the embedded ledger: every caller is the person that the settings name."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.banner = f"This page runs on your machine without a sign-in; you act as {address}."

    def address(self, headers: Mapping[str, str], remote: str | None) -> str:
        # Another site can point its own name to this machine (DNS rebinding), but it cannot change the Host header.
        host = {name.casefold(): value for name, value in headers.items()}.get("host", "").casefold()
        named = _HOST.sub(r"\1", host)
        if not _is_loopback(remote or "") or not (named == "localhost" or _is_loopback(named)):
            raise Refused("this page has no sign-in, and only opens on the machine that it runs on")
        return self._address


def _is_loopback(address: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return False


class IapIdentity:
    """Verifies the JWT of Identity-Aware Proxy: ES256, keys, issuer, audience, time; takes the e-mail only from it."""

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
            raise Refused("Identity-Aware Proxy did not sign the identity of this request")
        now = self._now()
        if claims.iss != ISSUER or claims.aud != self._audience:
            raise Refused("the identity of this request is for another service")
        if not claims.iat - _SKEW <= now <= claims.exp + _SKEW:
            raise Refused("the identity of this request expired; reload the page")
        # An external identity has its tenant as a prefix; a tenant can let anyone sign up.
        address = claims.email.removeprefix(_GOOGLE)
        person = None if ":" in address else parse_member(address)
        if not isinstance(person, Member) or person.kind is MemberKind.PRINCIPAL:
            raise Refused("the identity of this request has no e-mail address")
        return person.id.partition(":")[2]

    def _public_key(self, kid: str) -> str | None:
        """The public key with this id; fetched again for an unknown id, because keys rotate.

        One thread fetches; callers with a cached key do not wait. A failed fetch keeps the cached keys.
        """
        if self._needs_refresh(kid) and self._refreshing.acquire(blocking=kid not in self._keys):
            try:
                if self._needs_refresh(kid):
                    self._refresh_keys()
            finally:
                self._refreshing.release()
        if not self._keys:
            raise TransientFault("the public keys of Identity-Aware Proxy are not available")
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
    """Decode header and claims, without verification. Raises Refused when they are malformed."""
    pieces = token.split(".")
    if len(token) > _MAX_LENGTH or len(pieces) != 3:
        raise Refused("this request has no identity")
    try:
        decoded = [base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)) for piece in pieces[:2]]
        return decode_json(decoded[0], _Header), decode_json(decoded[1], _Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise Refused("this request has no identity") from None


def _has_valid_signature(token: str, key: str) -> bool:
    """Whether this key verifies the signature of the token, by Google's own library."""
    from google.auth.crypt import es

    signed, _, signature = token.rpartition(".")
    try:
        verifier = es.EsVerifier.from_string(key)
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except (TypeError, ValueError, binascii.Error):
        return False
    return bool(verifier.verify(signed.encode(), raw))
