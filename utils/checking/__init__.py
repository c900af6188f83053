"""What checks are made of: errors (what is wrong, in words), fresh (a new process), outcomes (how a check answers)."""
