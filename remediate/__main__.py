"""`python -m remediate`, and the command `remediate`."""

import sys

try:
    from remediate.cli.app import main
except ModuleNotFoundError as missing:
    advice = "Install it with what it needs (`pipx install .`), or use .venv/bin/remediate, which `make demo` makes."
    sys.exit(f"remediate: the package {missing.name!r} is not installed.\n{advice}")

if __name__ == "__main__":
    main()
