"""Rehearsals: their files, their order, their endpoints."""
