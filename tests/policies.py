"""The wider rule of `deploy/policies/before-2025.yaml`, for tests that need a grant by rule."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from remediate.decisions.policy_file import parse_policy
from remediate.decisions.variables import ASSUMED

BEFORE_2025 = Path(__file__).parents[1] / "deploy" / "policies" / "before-2025.yaml"
WIDER = parse_policy(BEFORE_2025.read_text(), BEFORE_2025.name)
INSIDE = replace(ASSUMED, member_inside=True)
"""A plan's assumptions for a member of the organization."""
