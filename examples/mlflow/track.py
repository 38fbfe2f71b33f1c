import mlflow

mlflow.set_experiment("one")
with mlflow.start_run():
    mlflow.log_param("alpha", 0.1)
    mlflow.log_metric("loss", 0.5)
print("runs:", len(mlflow.search_runs()))
