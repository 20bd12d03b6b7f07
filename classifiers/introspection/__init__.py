"""What can be read from any classifier without changing it: features, uncertainty, its answers to an attack."""
