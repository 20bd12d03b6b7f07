"""The kinds of sections, one file each. `section.py`, one folder up, is their contract."""
