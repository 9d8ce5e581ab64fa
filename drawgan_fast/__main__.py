"""``python -m drawgan_fast`` is ``drawgan``."""

from drawgan_fast.cli import main

main()
