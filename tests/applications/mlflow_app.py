"""MLflow: ``make URL`` fills a tracking store, ``use URL`` reads the old runs and writes."""

from __future__ import annotations

import sys

import mlflow
from mlflow.tracking import MlflowClient


def make(client):
    for name in ("one", "two ü"):
        experiment = client.create_experiment(name, tags={"team": "a"})
        for number in range(3):
            run = client.create_run(experiment, tags={"n": str(number)}, run_name=f"r{number}")
            client.log_param(run.info.run_id, "alpha", 0.1 * number)
            for step, value in enumerate((1.5, float("nan"), float("inf"), -0.0)):
                client.log_metric(run.info.run_id, "loss", value, step=step, timestamp=1000 + step)
            client.set_tag(run.info.run_id, "note", "\U0001f680\n'")
            client.set_terminated(run.info.run_id, end_time=1_700_000_000_123)
    client.create_registered_model("model", tags={"k": "v"}, description="d")
    client.create_model_version("model", "/nowhere", run.info.run_id)
    client.delete_run(run.info.run_id)


def use(client):
    for experiment in sorted(client.search_experiments(), key=lambda one: one.name):
        print(experiment.experiment_id, experiment.name, experiment.tags)
        runs = client.search_runs([experiment.experiment_id], order_by=["attributes.run_name"])
        for run in runs:
            history = client.get_metric_history(run.info.run_id, "loss")
            print(run.info.run_name, run.data.params, run.data.tags["note"], run.info.end_time)
            print([(metric.step, metric.value) for metric in history])
    print(
        [
            (one.name, one.tags, len(one.latest_versions))
            for one in client.search_registered_models()
        ]
    )
    new = client.create_experiment("three")
    run = client.create_run(new, run_name="new")
    client.log_metric(run.info.run_id, "loss", 2.5)
    client.create_model_version("model", "/elsewhere", run.info.run_id)
    print(new, client.get_run(run.info.run_id).data.metrics)


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[2])
    {"make": make, "use": use}[sys.argv[1]](MlflowClient(sys.argv[2], sys.argv[2]))
