"""Build entry point; everything static stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["drawgan_fast", "drawgan_fast.*"]), "drawgan_fast.kernels"])
