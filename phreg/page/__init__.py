"""The report page of a registered student: one self-contained HTML file."""
