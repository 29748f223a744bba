"""Studies: questions put to real data, each with one command and a report."""
