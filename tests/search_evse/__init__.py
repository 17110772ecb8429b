"""Search EVSE, held to cuts of the real registers with all their dirt."""
