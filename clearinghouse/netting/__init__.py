"""Many debts become few payments."""
