"""Reads a classifier that somebody brings, against labelled images: what `cfx init` finds out."""
