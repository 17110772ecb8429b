"""How a partner's programs show who they are: OAuth 2 clients, access tokens, keys, revocation."""
