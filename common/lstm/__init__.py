"""The recurrent layers: cells (one step, the equations), fused (whole ragged sequences), layers (the
stack), spatial (image sequences and images)."""

from common.lstm.layers import LSTMStack
from common.lstm.spatial import MDLSTM, ConvLSTM

__all__ = ["MDLSTM", "ConvLSTM", "LSTMStack"]
