"""Reading, resizing and writing images; `sets/` has labelled image sets."""
