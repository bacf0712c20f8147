"""`python -m remediate`."""

import sys

try:
    from remediate.cli.app import main
except ModuleNotFoundError as missing:
    advice = "Install the requirements (pip install -r requirements.txt), or use .venv/bin/python after `make demo`."
    sys.exit(f"remediate: the package {missing.name!r} is not installed.\n{advice}")

if __name__ == "__main__":
    main()
