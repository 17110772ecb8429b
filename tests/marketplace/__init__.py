"""The marketplace, capability by capability."""
