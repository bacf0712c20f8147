"""Benchmarks, with gcloud for comparison if it is installed. No test asserts their results."""
