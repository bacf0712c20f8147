"""Measurements, side by side with gcloud where it is installed. Nothing here is asserted."""
