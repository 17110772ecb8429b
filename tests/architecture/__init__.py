"""The house keeps its shape."""
