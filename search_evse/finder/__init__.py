"""Finding EVSEs by equipment, operator, management, address and proximity."""
