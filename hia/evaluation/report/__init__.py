"""The page about an evaluation: one HTML file with its figures, plots and videos."""

from hia.evaluation.report.page import REPORT, write_report

__all__ = ["REPORT", "write_report"]
