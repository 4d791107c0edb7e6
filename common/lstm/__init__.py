"""The recurrent layers: cells (one step, the equations), fused (whole ragged sequences), layers (the
stack), spatial (image sequences and images)."""

from carousel.common.lstm.spatial import MDLSTM, ConvLSTM
from carousel.common.lstm.stack import LSTMStack

__all__ = ["MDLSTM", "ConvLSTM", "LSTMStack"]
