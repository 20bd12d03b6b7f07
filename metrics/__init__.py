"""Metrics: pure functions on batches that return one value per image and do not depend on the engine."""
