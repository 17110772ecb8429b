"""How much may still be owed: limits of EVSPs and of their customers, and what is held on them."""
