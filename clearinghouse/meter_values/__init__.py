"""Signed meter values: is what was billed what the meter says, and is it that meter?"""
