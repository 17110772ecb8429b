"""Mirrors marketplace/access/."""
