"""Bundles: a classifier with the generative models and the judges fitted to the same data, checked on loading."""
