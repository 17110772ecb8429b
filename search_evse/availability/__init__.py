"""What is free now: the status of each EVSE, as its operator reports it."""
