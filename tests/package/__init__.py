"""The package as others get it: what the wheel holds, and what works after it was installed; and the container image."""
