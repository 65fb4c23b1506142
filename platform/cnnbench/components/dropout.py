"""Dropout: of single values (Srivastava et al. 2014), and of whole channels (Tompson et al. 2015, arXiv:1411.4280)."""

from typing import Any

from torch import nn
from torch.nn import functional as F

# Kind → the modules that are of it.
MODULES: dict[str, tuple[type[nn.Module], ...]] = {
    "dropout": (nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    "dropout2d": (nn.Dropout2d,),
}

# Tracing makes modules of these calls.
FUNCTIONS: dict[Any, type[nn.Module]] = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.alpha_dropout: nn.AlphaDropout,
    F.feature_alpha_dropout: nn.FeatureAlphaDropout,
}
