"""The roof: settings, wiring, processes, command line, replay. Knows all, is known by none."""
