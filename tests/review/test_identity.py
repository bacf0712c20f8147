"""Identity-Aware Proxy's word: taken as it is signed, and refused in every other way that it can be had."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from remediate.errors import Refused, TerminalFault, TransientFault
from remediate.review.identity import HEADER, ISSUER, IapIdentity, LocalIdentity
from tests.review.tokens import AUDIENCE, KEY, NOW, OTHER, encoded, public, token


def identity(fetched: list[int] | None = None) -> IapIdentity:
    def fetch() -> bytes:
        if fetched is not None:
            fetched.append(1)
        return json.dumps({"one": public(KEY)}).encode()

    return IapIdentity(AUDIENCE, fetch, now=lambda: NOW)


def ask(text: str, **headers: str) -> str:
    return identity().address({HEADER: text, **headers}, "10.0.0.1")


def test_a_signed_word_is_taken_from_the_token_alone() -> None:
    assert ask(token()) == "ana@example.com"
    assert (
        ask(token(), **{"X-Goog-Authenticated-User-Email": "accounts.google.com:eve@example.com"}) == "ana@example.com"
    )
    assert ask(token(email="accounts.google.com:ana@example.com")) == "ana@example.com"
    assert identity().address({HEADER.lower(): token()}, None) == "ana@example.com"
    assert ask(token(iat=NOW + 20)) == "ana@example.com"
    assert ask(token(exp=NOW - 20)) == "ana@example.com"


def _none() -> str:
    signed = token().rpartition(".")[0].split(".")
    return f"{encoded({'alg': 'none', 'kid': 'one'})}.{signed[1]}."


def _confused() -> str:
    """HS256 with the public key as the secret: the classical confusion of algorithms."""
    signed = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{token().split('.')[1]}"
    return f"{signed}.{encoded(hmac.new(public(KEY).encode(), signed.encode(), hashlib.sha256).digest())}"


def _swapped() -> str:
    """The claims of another token under this one's signature."""
    one, other = token().split("."), token(email="eve@example.com").split(".")
    return f"{one[0]}.{other[1]}.{one[2]}"


def _der() -> str:
    """The right signature in the form that X.509 has, not JOSE's."""
    signed = token().rpartition(".")[0]
    return f"{signed}.{encoded(KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"


FORGERIES = {
    "none at all": "",
    "no token": "x",
    "three empty pieces": "..",
    "not base64": "a.b.c",
    "another key": token(OTHER),
    "another key under its own name": token(OTHER, {"kid": "two"}),
    "no key id": token(header={"kid": ""}),
    "algorithm none": _none(),
    "algorithm none, signed": token(header={"alg": "none"}),
    "algorithm HS256": _confused(),
    "algorithm RS256": token(header={"alg": "RS256"}),
    "claims swapped": _swapped(),
    "header swapped": f"{encoded({'alg': 'ES256', 'kid': 'one', 'x': 1})}.{token().split('.', 1)[1]}",
    "signature cut": token()[:-4],
    "signature of nothing": f"{token().rpartition('.')[0]}.",
    "signature in DER": _der(),
    "signature of zeros": f"{token().rpartition('.')[0]}.{encoded(bytes(64))}",
    "two tokens": f"{token()},{token()}",
    "a bearer's": f"Bearer {token()}",
    "its own key in the header": token(OTHER, {"jwk": {"kty": "EC"}, "x5u": "https://evil.example"}),
    "lists in place of texts": token(iss=[ISSUER]),
    "text in place of times": token(exp="never"),
    "another audience": token(aud="/projects/2/locations/europe-west1/services/review"),
    "a list of audiences": token(aud=[AUDIENCE]),
    "no audience": token(aud=None),
    "another issuer": token(iss="https://accounts.google.com"),
    "no issuer": token(iss=None),
    "expired": token(exp=NOW - 31),
    "of the future": token(iat=NOW + 31),
    "without end": token(exp=None),
    "without beginning": token(iat=None),
    "no e-mail": token(email=None),
    "no address": token(email="ana"),
    "everybody": token(email="allUsers"),
    "huge": token(email="a" * 9000 + "@example.com"),
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused_whatever_the_other_headers_say(forged: str) -> None:
    headers = {
        "X-Goog-Authenticated-User-Email": "accounts.google.com:ana@example.com",
        "Authorization": f"Bearer {token()}",
        "X-Forwarded-For": "127.0.0.1",
    }
    with pytest.raises(Refused):
        ask(forged, **headers)


def test_keys_are_kept_and_looked_for_again_when_they_are_rotated() -> None:
    clock, keys, fetched = [0.0], {"one": public(KEY)}, []

    def fetch() -> bytes:
        fetched.append(1)
        return json.dumps(keys).encode()

    who = IapIdentity(AUDIENCE, fetch, now=lambda: NOW, monotonic=lambda: clock[0])
    for _ in range(3):
        who.address({HEADER: token()}, None)
    assert len(fetched) == 1
    keys["two"] = public(OTHER)
    rotated = {HEADER: token(OTHER, {"kid": "two"})}
    with pytest.raises(Refused):
        who.address(rotated, None)
    assert len(fetched) == 1  # nobody can make us ask more than once a minute
    clock[0] = 60
    assert who.address(rotated, None) == "ana@example.com"


def test_without_keys_nobody_is_let_in_and_with_old_ones_they_still_are() -> None:
    clock, broken = [0.0], [True]

    def fetch() -> bytes:
        if broken[0]:
            raise TransientFault("503")
        return json.dumps({"one": public(KEY)}).encode()

    who = IapIdentity(AUDIENCE, fetch, now=lambda: NOW, monotonic=lambda: clock[0])
    with pytest.raises(TransientFault):
        who.address({HEADER: token()}, None)
    broken[0], clock[0] = False, 5.0
    assert who.address({HEADER: token()}, None) == "ana@example.com"
    broken[0], clock[0] = True, 4000.0
    assert who.address({HEADER: token()}, None) == "ana@example.com"


HERE = {"Host": "127.0.0.1:8080"}


@pytest.mark.parametrize("remote", ["10.0.0.1", "", "localhost", "0.0.0.0", "::2"])
def test_a_local_identity_is_for_this_machine_alone(remote: str) -> None:
    local = LocalIdentity("you@example.com")
    assert local.address(HERE, "127.0.0.1") == local.address(HERE, "::1") == "you@example.com"
    with pytest.raises(Refused):
        local.address(HERE, remote or None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]", "[::1]:8080", "127.0.0.2:1"])
def test_this_machine_goes_by_its_own_names(host: str) -> None:
    assert LocalIdentity("you@example.com").address({"host": host}, "127.0.0.1") == "you@example.com"


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "x@127.0.0.1", "0.0.0.0", "127.0.0.1, evil.example"],
)  # fmt: skip
def test_a_name_that_was_made_to_lead_here_is_not_this_machine(host: str) -> None:
    with pytest.raises(Refused):
        LocalIdentity("you@example.com").address({"Host": host}, "127.0.0.1")


@pytest.mark.parametrize(
    "email",
    [
        "securetoken.google.com/my-project/tenant:ana@example.com",
        "evil.example:ana@example.com",
        "group:ana@example.com",
        "accounts.google.com:accounts.google.com:ana@example.com",
        "user:ana@example.com",
        "example.com",
        "",
    ],
)
def test_an_address_that_somebody_else_vouches_for_is_nobodys(email: str) -> None:
    with pytest.raises(Refused, match="has no e-mail address"):
        ask(token(email=email))


def test_a_token_that_is_nested_too_deeply_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"one","x":' + b"[" * 2900 + b"]" * 2900 + b"}").decode()
    with pytest.raises(Refused, match="has no identity"):
        ask(f"{deep}.{token().split('.')[1]}.x")


@pytest.mark.parametrize("fault", [TransientFault("503"), TerminalFault("404")])
def test_while_keys_cannot_be_had_those_that_are_held_do_and_nobody_waits(fault: Exception) -> None:
    clock, tries, entered, leave = [0.0], list[int](), threading.Event(), threading.Event()

    def fetch() -> bytes:
        tries.append(1)
        if len(tries) == 1:
            return json.dumps({"one": public(KEY)}).encode()
        entered.set()
        assert leave.wait(30)
        raise fault

    who = IapIdentity(AUDIENCE, fetch, now=lambda: NOW, monotonic=lambda: clock[0])
    assert who.address({HEADER: token()}, None) == "ana@example.com"
    clock[0] = 4000.0
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(who.address, {HEADER: token()}, None)
        assert entered.wait(30)
        for _ in range(8):
            assert who.address({HEADER: token()}, None) == "ana@example.com"
        leave.set()
        assert looking.result(30) == "ana@example.com"
    for _ in range(8):
        assert who.address({HEADER: token()}, None) == "ana@example.com"
    assert len(tries) == 2
    clock[0] += 6
    assert who.address({HEADER: token()}, None) == "ana@example.com"
    assert len(tries) == 3


def test_a_first_look_that_fails_is_not_repeated_by_everybody() -> None:
    clock, tries = [0.0], list[int]()

    def fetch() -> bytes:
        tries.append(1)
        raise TerminalFault("404")

    who = IapIdentity(AUDIENCE, fetch, now=lambda: NOW, monotonic=lambda: clock[0])
    for _ in range(8):
        with pytest.raises(TransientFault, match="keys of Identity-Aware Proxy are not available"):
            who.address({HEADER: token()}, None)
    assert len(tries) == 1
