"""How the acquisition functions compare on completions that a judge has really compared."""
