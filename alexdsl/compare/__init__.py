"""What differs between two specs in meaning, whatever their texts: the nets, how they start, their data and recipes."""

from alexdsl.compare.comparison import Comparison, compare
from alexdsl.compare.points import PARTS, Difference

__all__ = ["PARTS", "Comparison", "Difference", "compare"]
