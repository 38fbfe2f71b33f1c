"""Optuna: ``make URL`` fills a database, ``use URL`` reads the old rows and writes new ones."""

from __future__ import annotations

import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def make(storage):
    for name, directions in (("one", ["minimize"]), ("two", ["minimize", "maximize"])):
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        study.set_user_attr("note", {"ü": [1, None, "x"]})

        several = len(directions) > 1

        def objective(trial, several=several):
            x = trial.suggest_float("x", -10, 10)
            n = trial.suggest_int("n", 1, 5)
            trial.suggest_categorical("c", ["a", "b", None, 2])
            for step, value in enumerate((1.5, float("inf"), float("nan"))):
                if not several:
                    trial.report(value, step)
            if trial.number == 3 and not several:
                raise optuna.TrialPruned
            return (x, n) if several else x * x + n

        study.optimize(objective, n_trials=8)


def use(storage):
    study = optuna.load_study(study_name="one", storage=storage)
    first = study.trials[0]
    print(len(study.trials), study.best_value, study.trials[3].state, first.intermediate_values)
    print(first.params, study.user_attrs, first.datetime_start)
    study.optimize(lambda trial: trial.suggest_float("x", -10, 10), n_trials=2)
    optuna.create_study(study_name="three", storage=storage)
    print(len(study.trials), study.trials[-1].number, optuna.get_all_study_names(storage))


if __name__ == "__main__":
    {"make": make, "use": use}[sys.argv[1]](optuna.storages.RDBStorage(sys.argv[2]))
