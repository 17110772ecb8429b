"""Cards that an operator knows itself: they are answered here, and no hub is asked."""
