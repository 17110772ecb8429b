"""The words that everyone shares: identifiers, money, energy, tariffs, charges. Pure, no I/O."""
