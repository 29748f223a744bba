"""What people look at: scores, the leaderboard."""
