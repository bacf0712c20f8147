"""The command line: one file a command group, each registered in `app.py`.

In: words, files, standard input. Out: text, JSON, CSV and exit codes. Nothing imports from here.
"""
