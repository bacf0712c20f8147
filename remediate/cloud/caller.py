"""Turns application default credentials into the address of the caller, which the audit trail records.

Source: "How Application Default Credentials works" and the OpenID Connect userinfo endpoint (Google Identity).
"""

from __future__ import annotations

from remediate.errors import BadInput, TransientFault

_USERINFO = "https://openidconnect.googleapis.com/v1/userinfo"
_SCOPES = ("https://www.googleapis.com/auth/userinfo.email", "https://www.googleapis.com/auth/cloud-platform")
_TIMEOUT = 10.0  # seconds


def caller_address(userinfo: str = _USERINFO) -> str:
    """The address of the service account or user that the credentials are for.

    Raises BadInput if there are no credentials or they have no address, TransientFault if Google does not answer.
    """
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    except DefaultCredentialsError:
        advice = "Get credentials with: gcloud auth application-default login"
        raise BadInput("cannot tell who you are: there are no application default credentials", advice=advice) from None
    address = getattr(credentials, "service_account_email", None)
    if isinstance(address, str) and "@" in address:
        return address
    try:
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        answer = session.get(userinfo, timeout=_TIMEOUT)
        answer.raise_for_status()
        found = answer.json().get("email")
    except (OSError, ValueError, GoogleAuthError) as error:
        raise TransientFault(f"cannot tell who you are: Google did not answer ({type(error).__name__})") from error
    if not isinstance(found, str):
        advice = (
            "gcloud auth application-default login --scopes=openid,https://www.googleapis.com/auth/userinfo.email,..."
        )
        raise BadInput("the credentials have no email address", advice=advice)
    return found
