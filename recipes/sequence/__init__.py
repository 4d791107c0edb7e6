"""Sequences of any features: classes, labels, CTC, forecasts and anomalies, from .npy files."""
