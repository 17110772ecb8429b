"""What a partner is told at the end of a period: statements."""
