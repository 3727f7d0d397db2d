"""Tasks that draw from generators that nobody seeds."""

import os
import random
import secrets
import uuid

import near
import numpy as np
import pandas as pd
from cases import Case
from prefect import task
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split


@task
def shuffled(rows):
    rows = list(rows)
    random.shuffle(rows)
    return rows


@task
def name_it(mark):
    return f"{mark}-{uuid.uuid4()}"


@task
def bootstrap(values):
    return np.random.choice(values, size=len(values)).tolist()


@task
def simulate(mark):
    return np.random.default_rng().normal(size=4)


@task
def helped(mark):
    return near.draw(0, 100)


@task
def helped_token(mark):
    return near.token()


class Simulation:
    def __init__(self, size):
        self.size = size
        self.rng = random.Random()

    def draw(self):
        return [self.rng.random() for _ in range(self.size)]

    @task
    def run(self, mark):
        return [random.gauss(0, 1) for _ in range(self.size)]


@task
def own_generator(mark):
    return Simulation(3).draw()


@task
async def salt(mark):
    return secrets.token_hex(8) + os.urandom(4).hex()


@task
def sample(frame):
    return frame.sample(5)


@task
def split(values):
    return train_test_split(values, test_size=0.5)


@task
def forest(values):
    return RandomForestRegressor(n_estimators=3).fit(values[:, :1], values[:, 1]).predict(values[:5, :1])


def table(mark):
    return (pd.DataFrame({"value": range(1000)}),)


def matrix(mark):
    return (np.arange(400.0).reshape(200, 2) ** 1.5,)


Case("random", "direct", shuffled, args=lambda mark: (list(range(50)),), fresh=True)
Case("random", "direct", name_it, fresh=True)
Case("random", "direct", bootstrap, args=lambda mark: (list(range(50)),), fresh=True)
Case("random", "direct", simulate, fresh=True)
Case("random", "helper", helped, fresh=True)
Case("random", "helper", helped_token, fresh=True)
Case("random", "method", Simulation(3).run, fresh=True)
Case("random", "method", own_generator, fresh=True)
Case("random", "async", salt, fresh=True)
Case("random", "third party", sample, args=table, fresh=True)
Case("random", "third party", split, args=lambda mark: (list(range(60)),), fresh=True)
Case("random", "third party", forest, args=matrix, fresh=True)
