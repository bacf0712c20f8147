"""What is wrong with an installation: facts are surveyed by thin adapters, checks turn them into findings."""
