"""Makes the replicas of a range equal, without a read and after a loss (Dynamo, section 4.7)."""
