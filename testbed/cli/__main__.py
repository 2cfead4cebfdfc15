"""`python -m testbed.cli`: the program that ./lab runs."""

from testbed.cli.main import main

main()
