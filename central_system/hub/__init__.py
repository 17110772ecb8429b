"""How the central system calls the hub: as an operator, with a contract, through the one door."""
