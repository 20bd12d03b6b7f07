"""Everything that uses Rich."""
