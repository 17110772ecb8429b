"""Contractual clearing: may this customer charge here, and on whose account?"""
