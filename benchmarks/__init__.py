"""Measuring engines: what they find, how real it looks, what it costs."""
