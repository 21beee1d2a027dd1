"""What evidence says, in one vocabulary: a rule need not know whether a probe, a log or an admin API said it."""
