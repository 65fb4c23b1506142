"""The leaderboard's page: its sections, put together."""
