"""`python -m testbed.cli`: what ./lab runs."""

from testbed.cli.main import main

main()
