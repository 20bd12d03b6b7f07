"""Models that only score: no engine sees them, and import-linter holds that."""
