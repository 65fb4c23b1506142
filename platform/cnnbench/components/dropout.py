"""Dropout (Srivastava et al. 2014): one rate for every dropout site of a network."""

from torch import nn
from torch.nn import functional as F

MODULES = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)

# A trace freezes the ``training`` of these calls, so that tracing makes modules of them.
FUNCTIONS = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.alpha_dropout: nn.AlphaDropout,
    F.feature_alpha_dropout: nn.FeatureAlphaDropout,
}
