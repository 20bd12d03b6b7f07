"""Counterfactual search: the Engine contract (engine.py), one file an engine, and the metrics that judge them."""
