"""What became of calls, what they cost, and whether what was agreed of a service was kept."""
