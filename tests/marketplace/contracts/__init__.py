"""Mirrors marketplace/contracts/."""
