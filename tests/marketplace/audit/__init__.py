"""Mirrors marketplace/audit/."""
