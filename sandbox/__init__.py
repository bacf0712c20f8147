"""A Google Cloud small enough for a laptop: the real REST APIs, as far as the remediator and gcloud call them."""
