"""The pictures of an answer."""
