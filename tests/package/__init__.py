"""The package as users get it: the content of the wheel, the installed package, and the container image."""
