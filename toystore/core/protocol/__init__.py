"""What every room stands on: machines, the messages they exchange, the words they log."""
