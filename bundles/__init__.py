"""Bundles: a classifier with generative models and judges trained on the same data, checked on loading."""
