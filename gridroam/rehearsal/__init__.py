"""Rehearsals: real charges played against a real hub, from the card to the clearing statement."""
