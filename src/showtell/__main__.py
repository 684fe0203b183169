"""`python -m showtell`."""

from showtell.cli import main

main()
