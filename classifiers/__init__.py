"""Our own classifiers; other people's are in `foreign/`."""
