"""Money on its way: payment files for banks, bank statements read back, reminders."""
