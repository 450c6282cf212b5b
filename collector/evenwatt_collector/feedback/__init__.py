"""What came of decisions, against what was foreseen and against doing nothing; and what is learned from that. Pure."""
