"""Trains every night in the cleanest hours between 20:00 and 07:00."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG  # Airflow 3
except ImportError:
    from airflow import DAG
    from airflow.operators.bash import BashOperator

from evenwatt_sensor import EvenwattCleanHourSensor

with DAG(
    "train_in_clean_hours", schedule="0 20 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False
) as dag:
    wait = EvenwattCleanHourSensor(
        task_id="wait_for_a_clean_hour", length=timedelta(hours=2), deadline=timedelta(hours=11), zone="default"
    )
    train = BashOperator(task_id="train", bash_command="echo training")
    wait >> train
