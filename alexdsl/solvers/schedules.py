"""Rules for the learning rate over time."""

from __future__ import annotations

from math import cos, pi

from alexdsl.ir.graph import Attrs
from alexdsl.ir.parameters import Choice, Mismatch, Parameter, Real, Whole
from alexdsl.ir.protocol import Progress, Schedule


class Metric:
    """A metric's name, such as ``val.top1``."""

    words: tuple[str, ...] = ()

    def accept(self, value: object) -> str:
        if not isinstance(value, str):
            raise Mismatch(f"expects {self}")
        return value

    def __str__(self) -> str:
        return "a metric such as val.top1 or val.loss"


class Constant(Schedule):
    """The learning rate stays as it is."""

    name = "constant"

    def factor(self, progress: Progress, attrs: Attrs) -> float:
        return 1.0


class Step(Schedule):
    """The learning rate is multiplied by ``factor`` once ``every`` so many epochs or steps."""

    name = "step"
    parameters = (
        Parameter("every", Whole(1), doc="how many epochs or steps lie between two drops"),
        Parameter("factor", Real(0), 0.1, "what the rate is multiplied by"),
        Parameter("unit", Choice(("epochs", "steps")), "epochs", "what is counted"),
    )

    def factor(self, progress: Progress, attrs: Attrs) -> float:
        done = progress.epoch if attrs["unit"] == "epochs" else progress.step
        return float(attrs["factor"]) ** int(done // attrs["every"])


class Exponential(Schedule):
    """The learning rate falls a little with every step, by ``factor`` in ``every`` epochs or steps."""

    name = "exponential"
    parameters = (
        Parameter("factor", Real(0), 0.1, "what the rate is multiplied by"),
        Parameter("every", Whole(1), 1, "in how many epochs or steps"),
        Parameter("unit", Choice(("epochs", "steps")), "epochs", "what is counted"),
    )

    def factor(self, progress: Progress, attrs: Attrs) -> float:
        done = progress.epoch if attrs["unit"] == "epochs" else progress.step
        return float(float(attrs["factor"]) ** (done / attrs["every"]))


class Poly(Schedule):
    """The learning rate falls to nothing at the end of the run, as (1 - step / steps) ** power (Caffe's ``poly``)."""

    name = "poly"
    parameters = (Parameter("power", Real(0), 1.0, "1: by as much in every step; larger: more of it early"),)

    def factor(self, progress: Progress, attrs: Attrs) -> float:
        return float(max(0.0, 1 - progress.step / progress.steps) ** float(attrs["power"]))


class Cosine(Schedule):
    """The learning rate falls to ``floor`` of itself at the end of the run along half a cosine (Loshchilov and Hutter,
    "SGDR", 2017, equation 5, without restarts)."""

    name = "cosine"
    parameters = (Parameter("floor", Real(0), 0.0, "the part of the rate that is left at the end"),)

    def factor(self, progress: Progress, attrs: Attrs) -> float:
        floor, part = float(attrs["floor"]), min(1.0, progress.step / progress.steps)
        return floor + (1 - floor) * (1 + cos(pi * part)) / 2


class Plateau(Schedule):
    """The learning rate is multiplied by ``factor`` when the metric has not got better for ``patience`` validations
    ("divided by 10 when the validation error stopped improving", Krizhevsky et al. 2012, section 5)."""

    # Beside the parameters binding sets ``rises``: whether more of the metric is better.
    name = "plateau"
    parameters = (
        Parameter("metric", Metric(), doc="what should improve: accuracies upwards, losses downwards"),
        Parameter("factor", Real(0), 0.1, "what the rate is multiplied by"),
        Parameter("patience", Whole(1), 5, "validations to wait"),
    )

    def factor(self, progress: Progress, attrs: Attrs) -> float:
        name = attrs["metric"].removeprefix("val.")
        sign = 1.0 if attrs["rises"] else -1.0
        drops, waited, best = 0, 0, float("-inf")
        for metrics in progress.validations:
            value = sign * metrics.get(name, float("-inf"))
            if value > best:
                best, waited = value, 0
            else:
                waited += 1
            if waited >= attrs["patience"]:
                drops, waited = drops + 1, 0
        return float(attrs["factor"]) ** drops


SCHEDULES: tuple[Schedule, ...] = (Constant(), Step(), Exponential(), Poly(), Cosine(), Plateau())
