"""Mirrors marketplace/people/."""
