"""Forecasts of intensity and power: quantiles, scored against persistence and the week before. Pure."""

from evenwatt_collector.carbon.forecast.backtest import Walk, walk
from evenwatt_collector.carbon.forecast.forecaster import Forecaster
from evenwatt_collector.carbon.forecast.history import Forecast, History
from evenwatt_collector.carbon.forecast.provider import ProviderScore, check_provider
from evenwatt_collector.carbon.forecast.score import BlockScore, Scores, mape, wape

__all__ = [
    "BlockScore",
    "Forecast",
    "Forecaster",
    "History",
    "ProviderScore",
    "Scores",
    "Walk",
    "check_provider",
    "mape",
    "walk",
    "wape",
]
