"""Topics: events for those who have a contract on them, pulled, streamed or sent."""
