"""Ten nodes under fire (``make torture``); see `__main__`."""
