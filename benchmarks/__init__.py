"""Benchmarks of engines: what they find, how real it looks, and what it costs."""
