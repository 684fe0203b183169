"""The scores that run Java programs: METEOR and SPICE, with the extra `showtell[java-metrics]` and a Java runtime."""

from showtell.metrics.meteor import MeteorProcess, meteor
from showtell.metrics.spice import spice

__all__ = ["MeteorProcess", "meteor", "spice"]
