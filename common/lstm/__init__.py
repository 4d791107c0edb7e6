"""The recurrent layers: cells (one step, the equations), fused (whole ragged sequences), layers (the
stack)."""

from common.lstm.layers import LSTMStack

__all__ = ["LSTMStack"]
