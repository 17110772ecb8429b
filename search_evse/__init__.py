"""Search EVSE: where charge points are, what they can do, and which of them are free."""
