"""Callers and providers that do not speak alike: SOAP, JSON, and contents that differ."""
