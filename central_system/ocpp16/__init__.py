"""OCPP 1.6 JSON: one file per message, a table that routes, a socket per charge point."""
