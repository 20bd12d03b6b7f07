"""Counterfactual search: the Engine contract (engine.py) and one file per engine."""
