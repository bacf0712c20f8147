"""Fixtures of the doctor's tests."""

from tests.doctor.installation import installation, shared_sandbox

__all__ = ["installation", "shared_sandbox"]
