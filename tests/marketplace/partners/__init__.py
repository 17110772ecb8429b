"""Mirrors marketplace/partners/."""
