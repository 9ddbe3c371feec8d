"""What a kernel is made of, found without running it: its registers, its memory, its hottest loop's instructions."""

from alexdsl_cuda.analysis.report import Report, analyse
from alexdsl_cuda.analysis.tools import MissingTool

__all__ = ["MissingTool", "Report", "analyse"]
