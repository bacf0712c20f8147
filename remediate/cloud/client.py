"""How to call Google's clients: endpoint, credentials, retries, and the translation of errors.

Production uses REST like the tests do. Google's client for Artifact Registry has no default time-out and no default
retry, so each call gets both here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from remediate.errors import BehindPerimeter, Forbidden, Missing, TerminalFault, TransientFault

if TYPE_CHECKING:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import Credentials

_T = TypeVar("_T")
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0  # seconds; the wait doubles in between, with full jitter
_BUDGETS = 2.5  # the time for all attempts of one call together, in time-outs


def client_options(endpoint: str | None) -> tuple[ClientOptions | None, Credentials | None]:
    """Options and credentials for an overridden endpoint; None for Google's own endpoint."""
    if endpoint is None:
        return None, None
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    anonymous = AnonymousCredentials() if endpoint.startswith("http://") else None  # type: ignore[no-untyped-call]
    return ClientOptions(api_endpoint=endpoint), anonymous


def with_retries(call: Callable[[], _T], timeout: float, *, conflicts: bool = False, budgets: float = _BUDGETS) -> _T:
    """The result of the call. Retries temporary faults (and conflicts, with `conflicts`) while the budget lasts."""
    from google.api_core import exceptions
    from google.api_core.retry import Retry

    def passing(error: BaseException) -> bool:
        return _is_passing(error) or (conflicts and isinstance(error, exceptions.Conflict))

    retry = Retry(passing, _FIRST_DELAY, _LONGEST_DELAY, timeout=budgets * timeout)
    return retry(call)()


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Translate the errors of the client libraries into TransientFault or TerminalFault, which name the call."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.RetryError as error:
        raise TransientFault(f"{what}: {_told(error.cause or error)}") from error
    except exceptions.GoogleAPICallError as error:
        if is_behind_perimeter(error):
            raise BehindPerimeter(f"{what}: VPC Service Controls stopped the call: {_told(error)}") from error
        # 401 means that no token is available now. A missing permission is a 403.
        if _is_passing(error) or isinstance(error, (exceptions.Conflict, exceptions.Unauthorized)):
            raise TransientFault(f"{what}: {_told(error)}") from error
        kinds = {exceptions.NotFound: Missing, exceptions.Forbidden: Forbidden}
        kind = next((ours for theirs, ours in kinds.items() if isinstance(error, theirs)), TerminalFault)
        raise kind(f"{what}: {_told(error)}") from error
    except (OSError, GoogleAuthError) as error:  # requests' errors are OSErrors
        raise TransientFault(f"{what}: {_told(error)}") from error


_PERIMETER = "VPC_SERVICE_CONTROLS"  # the type of a violation ("Troubleshooting", VPC Service Controls)
_STOPPED = re.compile(
    r"(?:[A-Z]+ https?://\S+: )?Request is prohibited by organization's policy\.\s*vpcServiceControlsUniqueI[a-z]+:"
)


def is_behind_perimeter(error: BaseException) -> bool:
    """Whether this is Google's own 403 by a perimeter of VPC Service Controls, and not by IAM.

    Its details say so; an answer without details is recognized by the sentence that its message begins with. A text
    that only quotes the sentence, as one with a caller's words in it could, does not count.
    """
    from google.api_core.exceptions import Forbidden

    if not isinstance(error, Forbidden):
        return False
    if (error.reason, error.domain) == ("SECURITY_POLICY_VIOLATED", "googleapis.com"):
        return True
    details = [each for each in error.details if isinstance(each, dict)]
    violations = [one for each in details for one in each.get("violations") or () if isinstance(one, dict)]
    return any(one.get("type") == _PERIMETER for one in violations) or _STOPPED.match(str(error.message)) is not None


def _is_passing(error: BaseException) -> bool:
    from google.api_core import exceptions
    from google.auth.exceptions import TransportError

    passing = (exceptions.ServerError, exceptions.TooManyRequests, TransportError, OSError)
    return isinstance(error, passing) and not isinstance(error, exceptions.MethodNotImplemented)


def _told(error: BaseException) -> str:
    """The error in one line: Google's code and message, or the type of a connection error."""
    from google.auth.exceptions import DefaultCredentialsError

    if isinstance(error, DefaultCredentialsError):
        return str(error)  # says how to get credentials
    message = getattr(error, "message", None)
    code = getattr(error, "code", None)
    if isinstance(message, str) and code is not None:
        return f"{int(code)} {message}"
    return type(error).__name__
