"""Offerings that were accepted: status, validation (SRV 1967), roaming agreements."""
