import numpy as np
import pytest

from evenwatt_collector.carbon.forecast import mape, wape


def test_mape_of_a_case_made_by_hand():
    assert mape(np.array([100.0, 200.0, 50.0]), np.array([110.0, 180.0, 50.0])) == pytest.approx((10 + 10 + 0) / 3)


def test_mape_leaves_out_what_is_unknown_or_zero():
    assert mape(np.array([100.0, np.nan, 0.0]), np.array([150.0, 1.0, 7.0])) == pytest.approx(50.0)
    assert np.isnan(mape(np.zeros(3), np.ones(3)))


def test_wape_of_a_case_made_by_hand():
    assert wape(np.array([0.0, 100.0, 300.0]), np.array([20.0, 100.0, 280.0])) == pytest.approx(10.0)
    assert np.isnan(wape(np.zeros(3), np.ones(3)))
