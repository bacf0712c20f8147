"""Where this process runs, if that is Cloud Run: project and region out of the metadata server.

Source: "Introduction to Cloud Run's container contract", instance metadata server. `GCE_METADATA_HOST` is honoured.
"""

from __future__ import annotations

import os

_HOST = "metadata.google.internal"
_TIMEOUT = 2.0  # seconds; it is next door, or it is not there


def project_and_region() -> tuple[str | None, str | None]:
    """The project's id and the region; None where nobody tells."""
    region = _asked("instance/region")
    return _asked("project/project-id"), region.rpartition("/")[2] if region else None


def _asked(name: str) -> str | None:
    import requests

    url = f"http://{os.environ.get('GCE_METADATA_HOST', _HOST)}/computeMetadata/v1/{name}"
    try:
        answer = requests.get(url, headers={"Metadata-Flavor": "Google"}, timeout=_TIMEOUT)
    except OSError:
        return None
    return answer.text.strip() or None if answer.status_code == 200 else None
