"""How a business comes to take part: it applies, and the hub's operator decides role by role."""
