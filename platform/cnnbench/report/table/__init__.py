"""The leaderboard: a study's records as rows, and what the table says."""
