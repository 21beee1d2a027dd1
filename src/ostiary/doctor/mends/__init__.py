"""From what a finding wants changed to a patch that `patch` applies: the file stays as it was but for the change."""
