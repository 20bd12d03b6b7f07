"""Labelled image sets: one reader for each kind of source, one `Split`."""
