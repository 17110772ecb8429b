"""Business Services: who trades with whom, and on what terms."""
