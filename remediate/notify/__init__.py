"""Who is told, and how: `interface.py` is the port, the modules beside it are the channels and what is sent on them."""
