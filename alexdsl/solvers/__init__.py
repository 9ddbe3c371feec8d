"""Solvers and learning-rate schedules that come with alexdsl."""

from alexdsl.solvers.adam import Adam
from alexdsl.solvers.nesterov import Nesterov
from alexdsl.solvers.schedules import SCHEDULES
from alexdsl.solvers.sgd import Sgd

SOLVERS = (Sgd(), Nesterov(), Adam())

__all__ = ["SCHEDULES", "SOLVERS"]
