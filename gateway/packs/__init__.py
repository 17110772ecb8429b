"""Prepaid calls: packs that a requester buys, and what is left of them."""
