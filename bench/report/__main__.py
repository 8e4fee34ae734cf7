"""`python bench/report`: see `report.py`."""

from report import main

main()
