"""What was called, by whom, under which contract: one record a call."""
