"""Stand-ins for what tests must steer: a launcher that needs no processes."""
