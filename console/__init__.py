"""The web pages that people look at."""
