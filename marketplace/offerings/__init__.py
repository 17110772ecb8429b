"""On what terms a provider offers a service, and to whom."""
