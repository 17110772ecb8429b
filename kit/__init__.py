"""Plumbing without a business word in it: each file is one noun."""
