"""The version, on its own, so that rooms can say it without importing what imports them."""

VERSION = "0.1.0"
