"""Mirrors bridge/."""
