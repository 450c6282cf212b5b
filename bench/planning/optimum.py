"""Exact answers from HiGHS, formulated anew: nothing of the planner is used."""

from __future__ import annotations

from typing import Any

import numpy as np


def fill(weights: Any, length: float) -> float:
    """Return the least of sum w x over 0 <= x <= 1 with sum x = length."""
    import highspy

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    count = len(weights)
    solver.addVars(count, np.zeros(count), np.ones(count))
    solver.changeColsCost(count, np.arange(count, dtype=np.int32), np.asarray(weights, dtype=np.float64))
    solver.addRow(float(length), float(length), count, np.arange(count, dtype=np.int32), np.ones(count))
    solver.run()
    return float(solver.getInfo().objective_function_value)
