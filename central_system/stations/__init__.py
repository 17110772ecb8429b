"""Charge points: enrolment, passwords, connectors, who is connected, and what is free."""
