"""What waves run through and what starts them, on the unit square: plain records that check themselves.

Units: lengths are in edges of the square, times in crossings of it at speed 1, so that speeds are near 1.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgephys.core.errors import DataError, UsageError
from edgephys.core.reading import MALFORMED, fault

Floats = npt.NDArray[np.float64]

DIRICHLET = "dirichlet"
"""u = 0 on the edge: a wave comes back upside down."""

ABSORBING = "absorbing"
"""c du/dn + du/dt = 0 on the edge: a wave that meets it straight leaves."""

EDGES = (DIRICHLET, ABSORBING)


@dataclass(frozen=True)
class Disc:
    """A disc of another wave speed, wholly within the unit square."""

    x: float
    y: float
    radius: float
    speed: float

    def __post_init__(self) -> None:
        """Refuse a disc that is not wholly within the square, or has no size or speed."""
        _check_within("disc", self.x, self.y, self.radius, self.radius)
        _check_positive("disc", radius=self.radius, speed=self.speed)

    def holds(self, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Say which points lie within."""
        return (x - self.x) ** 2 + (y - self.y) ** 2 <= self.radius**2


@dataclass(frozen=True)
class Box:
    """A box of another wave speed about its centre, wholly within the unit square."""

    x: float
    y: float
    width: float
    height: float
    speed: float

    def __post_init__(self) -> None:
        """Refuse a box that is not wholly within the square, or has no size or speed."""
        _check_within("box", self.x, self.y, self.width / 2.0, self.height / 2.0)
        _check_positive("box", width=self.width, height=self.height, speed=self.speed)

    def holds(self, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Say which points lie within."""
        return (np.abs(x - self.x) <= self.width / 2.0) & (np.abs(y - self.y) <= self.height / 2.0)


Inclusion = Disc | Box
SHAPES: dict[str, type[Disc] | type[Box]] = {"disc": Disc, "box": Box}


@dataclass(frozen=True)
class Medium:
    """The wave speed everywhere and what the edge does; of inclusions that overlap the last one counts."""

    speed: float = 1.0
    inclusions: tuple[Inclusion, ...] = ()
    edges: str = DIRICHLET

    def __post_init__(self) -> None:
        """Refuse a speed that is not above 0 and an edge that is none."""
        _check_positive("medium", speed=self.speed)
        if self.edges not in EDGES:
            raise UsageError(f"medium: edges must be {' or '.join(EDGES)}, not '{self.edges}'; choose one")

    def speed_at(self, x: Floats, y: Floats) -> Floats:
        """Return the wave speed at points.

        Shape: x and y alike, of any shape, to the same.
        """
        speed = np.full(np.shape(x), self.speed)
        for inclusion in self.inclusions:
            speed[inclusion.holds(x, y)] = inclusion.speed
        return speed


@dataclass(frozen=True)
class Pulse:
    """A Gaussian of u at time 0: `height` exp(-r^2 / (2 `width`^2)), moving with a drift of its own.

    Its initial velocity is -(drift . grad) of it: a drift of the wave speed sends most of it one way, none lets it
    spread alike to all sides.
    """

    x: float
    y: float
    width: float
    height: float = 1.0
    drift_x: float = 0.0
    drift_y: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a pulse outside the square, without a width or not finite."""
        _check_within("pulse", self.x, self.y, 0.0, 0.0)
        _check_positive("pulse", width=self.width)
        _check_finite("pulse", height=self.height, drift_x=self.drift_x, drift_y=self.drift_y)

    def field(self, x: Floats, y: Floats) -> Floats:
        """Return u at time 0."""
        return self.height * _gaussian(x - self.x, y - self.y, self.width)

    def velocity(self, x: Floats, y: Floats) -> Floats:
        """Return du/dt at time 0."""
        along = self.drift_x * (x - self.x) + self.drift_y * (y - self.y)
        return along / self.width**2 * self.field(x, y)


@dataclass(frozen=True)
class Band:
    """A Gaussian in x times sin(pi y) at time 0, moving along x with a drift: nearly a plane wave in the middle rows.

    Within u = 0 on the edge it is a sum of exact modes, so that how it goes on is known in closed form.
    """

    x: float
    width: float
    height: float = 1.0
    drift_x: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a band outside the square, without a width or not finite."""
        _check_within("band", self.x, 0.5, 0.0, 0.0)
        _check_positive("band", width=self.width)
        _check_finite("band", height=self.height, drift_x=self.drift_x)

    def field(self, x: Floats, y: Floats) -> Floats:
        """Return u at time 0."""
        return self.height * _gaussian(x - self.x, np.zeros_like(x), self.width) * np.sin(np.pi * y)

    def velocity(self, x: Floats, y: Floats) -> Floats:
        """Return du/dt at time 0."""
        return self.drift_x * (x - self.x) / self.width**2 * self.field(x, y)


@dataclass(frozen=True)
class Source:
    """A force on u, a Gaussian in space with a Ricker signal of the peak frequency `frequency`, centred at `delay`."""

    x: float
    y: float
    width: float
    height: float
    frequency: float
    delay: float

    def __post_init__(self) -> None:
        """Refuse a source outside the square, without a width or frequency, or not finite."""
        _check_within("source", self.x, self.y, 0.0, 0.0)
        _check_positive("source", width=self.width, frequency=self.frequency)
        _check_finite("source", height=self.height, delay=self.delay)

    def shape(self, x: Floats, y: Floats) -> Floats:
        """Return the force in space."""
        return self.height * _gaussian(x - self.x, y - self.y, self.width)

    def signal(self, time: float) -> float:
        """Return the force in time: (1 - 2 a) exp(-a) with a = (pi frequency (time - delay))^2.

        Source: Ricker, Geophysics 18 (1953) 10.
        """
        a = (math.pi * self.frequency * (time - self.delay)) ** 2
        return (1.0 - 2.0 * a) * math.exp(-a)


@dataclass(frozen=True)
class Scene:
    """All that one run of waves follows from."""

    medium: Medium
    pulses: tuple[Pulse | Band, ...] = ()
    sources: tuple[Source, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the scene as plain JSON types."""
        record = dataclasses.asdict(self)
        names = {kind: name for name, kind in SHAPES.items()}
        record["medium"]["inclusions"] = [
            {"shape": names[type(inclusion)], **dataclasses.asdict(inclusion)} for inclusion in self.medium.inclusions
        ]
        record["pulses"] = [
            {"shape": "band", **one} if isinstance(pulse, Band) else one
            for pulse, one in zip(self.pulses, record["pulses"], strict=True)
        ]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}


def scene_of_record(record: dict[str, Any]) -> Scene:
    """Return the scene of a record.

    Raises: DataError where a field is missing, unknown or no scene may hold it.
    """
    try:
        medium = dict(record["medium"])
        medium["inclusions"] = tuple(
            SHAPES[one["shape"]](**{key: value for key, value in one.items() if key != "shape"})
            for one in medium["inclusions"]
        )
        return Scene(
            Medium(**medium),
            tuple(_pulse_of_record(dict(one)) for one in record["pulses"]),
            tuple(Source(**one) for one in record["sources"]),
        )
    except (*MALFORMED, UsageError) as error:
        raise DataError(f"wave run: a field of its record is missing or malformed ({fault(error)})") from error


def _pulse_of_record(one: dict[str, Any]) -> Pulse | Band:
    shape = one.pop("shape", None)
    if shape not in (None, "band"):
        raise KeyError(shape)
    return Band(**one) if shape else Pulse(**one)


def _gaussian(x: Floats, y: Floats, width: float) -> Floats:
    return np.exp(-(x * x + y * y) / (2.0 * width * width))


def _check_within(what: str, x: float, y: float, half_width: float, half_height: float) -> None:
    inside = half_width <= x <= 1.0 - half_width and half_height <= y <= 1.0 - half_height
    if not inside:
        reach = f" with half widths ({half_width:g}, {half_height:g})" if half_width or half_height else ""
        raise UsageError(
            f"{what}: must lie within the unit square, not at ({x:g}, {y:g}){reach}; move it or make it smaller"
        )


def _check_positive(what: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise UsageError(f"{what}: {name} must be above 0 and finite, not {value:g}; choose another")


def _check_finite(what: str, **values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise UsageError(f"{what}: {name} must be finite, not {value:g}; choose another")
