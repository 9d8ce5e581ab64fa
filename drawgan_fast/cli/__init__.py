"""The command line: ``drawgan train | evaluate | sample | compare | info``."""

from drawgan_fast.cli.main import main

__all__ = ["main"]
