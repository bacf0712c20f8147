"""Reads the project and region of this Cloud Run instance from the metadata server.

Source: "Introduction to Cloud Run's container contract", instance metadata server. `GCE_METADATA_HOST` is honoured.
"""

from __future__ import annotations

import os

_HOST = "metadata.google.internal"
_TIMEOUT = 2.0  # seconds; the server is on the same machine or absent


def project_and_region() -> tuple[str | None, str | None]:
    """The project's id and the region; None where there is no metadata server."""
    region = _metadata("instance/region")
    return _metadata("project/project-id"), region.rpartition("/")[2] if region else None


def _metadata(name: str) -> str | None:
    import requests

    url = f"http://{os.environ.get('GCE_METADATA_HOST', _HOST)}/computeMetadata/v1/{name}"
    try:
        answer = requests.get(url, headers={"Metadata-Flavor": "Google"}, timeout=_TIMEOUT)
    except OSError:
        return None
    return answer.text.strip() or None if answer.status_code == 200 else None
