"""A closed month's debts become payments; payments are made, or somebody does not pay."""
