"""The report: finished records in, a leaderboard out. Knows no torch, Ray or MLflow."""

from cnnbench.report.page.leaderboard_page import Leaderboard, write_report
from cnnbench.report.table.leaderboard import leaderboard
from cnnbench.report.terminal_tables import effects_text, plain_table, terminal_table

__all__ = ["Leaderboard", "effects_text", "leaderboard", "plain_table", "terminal_table", "write_report"]
