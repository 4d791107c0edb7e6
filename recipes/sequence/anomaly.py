"""Where a sequence is not as forecast.

Malhotra, Vig, Shroff & Agarwal 2015, Long Short Term Memory Networks for Anomaly Detection in Time Series:
each frame has been forecast `horizon` times; the errors of normal sequences are fitted by a Gaussian, and the
score of a frame is the squared Mahalanobis distance of its errors from that.
"""

from collections.abc import Sequence as Several

import numpy as np
import torch
from torch import Tensor

from carousel.recipes.sequence.data import Sequence
from carousel.recipes.sequence.model import Model
from carousel.recipes.sequence.tasks import forecast_errors

RIDGE = 1e-6  # on the diagonal of the covariance, squared standard deviations


def error_vectors(one: Sequence, model: Model) -> Tensor:
    """Of each frame from `horizon` on the errors of all forecasts of it: (frames - horizon, horizon × size)
    standard deviations."""
    outputs, _ = model.outputs([one])
    errors = forecast_errors(outputs[0], one, model)
    back = [
        errors[model.horizon - ahead : len(one.x) - ahead, ahead - 1] for ahead in range(1, model.horizon + 1)
    ]
    return torch.cat(back, dim=-1)


def fit(sequences: Several[Sequence], model: Model) -> tuple[Tensor, Tensor]:
    """Mean and inverse covariance of the error vectors of normal sequences."""
    with torch.inference_mode():
        errors = torch.cat([error_vectors(one, model) for one in sequences]).double()
    mean = errors.mean(0)
    covariance = (errors - mean).T @ (errors - mean) / max(len(errors) - 1, 1)
    precision = torch.linalg.inv(covariance + RIDGE * torch.eye(len(mean), dtype=torch.float64))
    return mean.float(), precision.float()


def scores(one: Sequence, model: Model) -> np.ndarray:
    """Of each frame its score, (frames,), about `horizon` × size where all is normal; NaN for the first
    `horizon`, which have not been forecast so often."""
    if model.errors is None:
        raise TypeError("the model is not one of task=forecast")
    mean, precision = model.errors
    with torch.inference_mode():
        errors = error_vectors(one, model) - mean
        found = ((errors @ precision) * errors).sum(-1)
    return np.concatenate([np.full(model.horizon, np.nan), found.numpy()]).astype(np.float32)


def area_under_curve(values: np.ndarray, anomalous: np.ndarray) -> float:
    """That of the receiver operating characteristic: how often a value of `anomalous` (bool) is above one
    that is not (ties count half)."""
    from scipy.stats import rankdata

    ones = int(anomalous.sum())
    ranks = rankdata(values)[anomalous].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * (len(values) - ones)))
