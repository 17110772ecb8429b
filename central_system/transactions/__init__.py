"""Charges: begun, metered, ended, and handed to the clearing house as records."""
