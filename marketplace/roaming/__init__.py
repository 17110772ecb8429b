"""Roaming agreements in bulk: what is offered, at what price at a glance, and who has agreed."""
