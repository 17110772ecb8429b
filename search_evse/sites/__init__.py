"""Master data of sites, their EVSEs and connectors: taken in, kept, and looked up by id."""
