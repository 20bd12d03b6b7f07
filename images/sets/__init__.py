"""Labelled image sets: a reader for each kind of source, and `Split`."""
