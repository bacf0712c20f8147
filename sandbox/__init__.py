"""A small Google Cloud for a laptop: serves the parts of the real REST APIs that `remediate` and gcloud call."""
