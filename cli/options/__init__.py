"""Options that several commands share: their types, and how their values are parsed."""
