"""Files of charge detail records: taken whole or not at all, and booked once, whatever happens."""
