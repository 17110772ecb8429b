"""Mirrors marketplace/services/."""
