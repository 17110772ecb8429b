"""Customer contracts that EVSPs keep here, so that the hub can answer for them."""
