import os

import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", -10, 10) - 2) ** 2


study = optuna.create_study(
    study_name="one",
    storage=os.environ.get("STORAGE", "sqlite:///optuna.db"),
    load_if_exists=True,
)
study.optimize(objective, n_trials=20)
print(len(study.trials), "trials")
