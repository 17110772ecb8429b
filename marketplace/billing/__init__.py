"""What services cost: monthly invoices, the marketplace's fee, and what is paid of them."""
