"""Metrics: pure functions on batches, one value per image, that know no engine by name."""
