"""What every core package uses: machines, their messages, and the events they log."""
