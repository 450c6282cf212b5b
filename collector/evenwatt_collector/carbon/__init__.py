"""From joules to grams: what a kilowatt-hour of a grid weighs, and sums that lose nothing. Pure but for one table."""

from evenwatt_collector.carbon.annual import GridRow, IntensityTable, UnknownGridError
from evenwatt_collector.carbon.emissions import Factor, Sum, grams, grams_per_hour, unrecorded_j

__all__ = [
    "Factor",
    "GridRow",
    "IntensityTable",
    "Sum",
    "UnknownGridError",
    "grams",
    "grams_per_hour",
    "unrecorded_j",
]
