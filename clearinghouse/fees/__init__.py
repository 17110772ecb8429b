"""What the hub asks for its work: dated schedules, and what a month comes to under them."""
