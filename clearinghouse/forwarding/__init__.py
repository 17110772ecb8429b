"""Every charge detail record to its EVSP, at once and surely."""
