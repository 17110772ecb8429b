"""Mirrors marketplace/offerings/."""
