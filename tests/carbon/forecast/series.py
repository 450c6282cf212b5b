"""Series that are made here: a daily and weekly rhythm, weather that stays for some days, noise."""

import numpy as np

from evenwatt_collector.carbon.forecast import History

HOUR_S = 3600
DAY_S = 86_400
START_S = 1_609_459_200
"""2021-01-01."""


def made(days, *, step_s=HOUR_S, seed=1, drift=0.0):
    """Return a history; with ``drift``, its noise grows by that factor towards its end."""
    rng = np.random.default_rng(seed)
    steps = np.arange(days * DAY_S // step_s)
    hour, day = steps * step_s / HOUR_S, steps * step_s / DAY_S
    decay = np.exp(-step_s / (30 * HOUR_S))
    weather = np.zeros(len(steps))
    shocks = rng.normal(0, 40 * np.sqrt(1 - decay**2), len(steps)) * (1 + drift * steps / max(1, len(steps)))
    for i in range(1, len(steps)):
        weather[i] = decay * weather[i - 1] + shocks[i]
    weekend = -40 * (np.floor(day + 4) % 7 >= 5)
    values = 400 + 80 * np.sin(2 * np.pi * hour / 24) + weekend + weather + rng.normal(0, 5, len(steps))
    return History(start_s=START_S, step_s=step_s, values=np.maximum(values, 5.0))


def history(values, step_s=HOUR_S):
    return History(start_s=START_S, step_s=step_s, values=np.asarray(values, dtype=np.float64))
