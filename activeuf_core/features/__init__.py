"""Features: a frozen model's last hidden state for every (prompt, completion)."""
