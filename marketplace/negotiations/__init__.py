"""Contracts that are negotiated: requested, offered, countered, accepted, signed by both sides."""
