"""What a run came to, shown: tables for the terminal and the self-contained HTML report."""

from edgetran.report.measured import measured_view
from edgetran.report.page import REPORT_NAME, write_report
from edgetran.report.reading import ReportError
from edgetran.report.tables import devices_table, result_table, trials_table
from edgetran.report.view import result_view

__all__ = [
    "REPORT_NAME",
    "ReportError",
    "devices_table",
    "measured_view",
    "result_table",
    "result_view",
    "trials_table",
    "write_report",
]
