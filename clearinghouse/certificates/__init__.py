"""Contract certificates of plug and charge: what is presented, and whom an EVSP trusts with it."""
