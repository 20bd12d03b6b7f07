"""Models that only score counterfactuals. No engine uses them, which import-linter enforces."""
