import os

import optuna

optuna.storages.RDBStorage(os.environ["STORAGE"])  # creates Optuna's tables
