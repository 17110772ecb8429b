"""Invoices and credit notes: what a pair of partners owes each other, as the law wants it told."""
