"""What memory is left, and which step of the ladder that calls for."""
