"""Turns the audit log entry of a failed Cloud Run deploy into one reader grant, or a proposal of one."""

__version__ = "0.1.0"
