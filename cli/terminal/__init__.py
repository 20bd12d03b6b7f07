"""Terminal output: everything that uses Rich."""
