"""Intake of charge detail records: validate, deduplicate, price, post, all in one commit."""
