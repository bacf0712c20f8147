"""The one role that this project ever grants."""

from __future__ import annotations

ROLE = "roles/artifactregistry.reader"
"""A constant on purpose: there is no way to ask for another."""
