"""Signatures over bodies, on request: what was asked and answered can be proven later."""
