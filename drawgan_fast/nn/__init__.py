"""Modules over the operators: building blocks for attention-window models."""

from drawgan_fast.nn.attention import AttentionReader, AttentionWriter
from drawgan_fast.nn.draw_core import DrawCore
from drawgan_fast.nn.lstm_cell import LSTMCell

__all__ = ["AttentionReader", "AttentionWriter", "DrawCore", "LSTMCell"]
