"""Options that commands share: their types, and what their words mean."""
