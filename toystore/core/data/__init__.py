"""What is stored: records, the stamps that order them, the contexts that clients carry."""
