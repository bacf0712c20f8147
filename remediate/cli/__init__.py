"""`python -m remediate`: one file a command group, each registered in `app.py`."""
