"""Fixtures of the doctor's tests."""

from tests.doctor.ward import hospital, ward

__all__ = ["hospital", "ward"]
