"""Bundles: a classifier with the generative models and the judges of the same data, checked on loading."""
