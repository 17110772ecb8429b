"""What concerns two parties is told to both, until each has it."""
