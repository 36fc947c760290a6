"""From an English sentence to ordered sub-goals, and the ledger of what became of each."""
