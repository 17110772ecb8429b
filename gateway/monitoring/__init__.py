"""How services fare: calls, errors and times, by service, contract and operation."""
