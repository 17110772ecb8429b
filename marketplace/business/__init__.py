"""Who a partner is on paper: legal name, seat, VAT id, bank account; dated, and never forgotten."""
