"""Reading, resizing and writing images; labelled image sets are in `sets/`."""
