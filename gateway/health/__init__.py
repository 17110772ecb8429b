"""How the endpoints of services are, over all processes, and who is told."""
