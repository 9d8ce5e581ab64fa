"""GPU kernels; installed as ``drawgan_fast.kernels``, never imported by users directly."""
