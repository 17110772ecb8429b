"""The one door: every call of a service comes through here, and none goes around it."""
