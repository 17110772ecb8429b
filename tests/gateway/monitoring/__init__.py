"""Mirrors gateway/monitoring/."""
