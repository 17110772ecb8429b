"""Who takes part: registration, roles, and where the hub reaches a partner."""
