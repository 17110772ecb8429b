"""Offerings that were accepted: status, and the book in memory; roaming agreements."""
