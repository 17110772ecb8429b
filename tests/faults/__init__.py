"""Bad days that a hub must survive: processes that are killed, servers that vanish."""
