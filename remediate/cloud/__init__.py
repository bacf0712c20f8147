"""Thin adapters on Google's official clients; `interface.py` says what the remediator sees of them."""
