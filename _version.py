"""The version, in a module of its own, because `cfx/__init__.py` refers to the modules that need it."""

VERSION = "0.1.0"
