"""Accounting periods: which month an amount belongs to, and when that month is done with."""
