"""What a person sees: the pages in a real browser, in front of a real hub."""
