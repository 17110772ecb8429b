"""Double entry, append only: what every priced charge means in money."""
