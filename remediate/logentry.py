"""Turns the bytes of one Cloud Logging entry into the few audit log fields that a decision needs, typed.

Nothing else of the entry is kept: system events hold environment variables in clear.
"""

from __future__ import annotations
