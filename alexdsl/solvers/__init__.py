"""Solvers and learning-rate schedules that come with alexdsl."""

from alexdsl.solvers.schedules import SCHEDULES
from alexdsl.solvers.sgd import Sgd

SOLVERS = (Sgd(),)

__all__ = ["SCHEDULES", "SOLVERS"]
