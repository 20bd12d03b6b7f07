"""The command line: parse, load, call, draw. One file a command; `render.py` holds all Rich code."""
