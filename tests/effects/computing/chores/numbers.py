"""Arrays, models and seeded chance."""

import contextlib
import io
import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import joblib
import matplotlib as mpl
import numpy as np
import pandas as pd
from jobs import Job
from prefect import task
from scipy import optimize, stats
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

mpl.use("Agg")
import matplotlib.pyplot as plt

logger = logging.getLogger(__name__)


def matrix():
    return np.arange(16.0).reshape(4, 4) % 5 + np.eye(4)


def samples():
    return make_classification(n_samples=80, n_features=5, random_state=3)


@task
def solved(a, b):
    return np.linalg.solve(a, b).round(9)


@task
def decomposed(a):
    return np.linalg.svd(a, compute_uv=False).round(9)


@task
def normalised(a):
    out = a.copy()
    out -= out.mean(axis=0)
    out /= out.std(axis=0) + 1e-9
    return out


@task
def simulated(seed, size):
    rng = np.random.default_rng(seed)
    return rng.normal(size=size).cumsum()


@task
def bootstrapped(values, seed=11):
    np.random.seed(seed)
    means = [np.random.choice(values, len(values)).mean() for _ in range(20)]
    return float(np.percentile(means, 95))


@task
def shuffled(values, seed):
    order = list(values)
    random.Random(seed).shuffle(order)
    return order


@task
def drawn(seed):
    random.seed(seed)
    return [random.randint(1, 6) for _ in range(10)]


@task
def split(values, target):
    return train_test_split(values, target, test_size=0.25, random_state=42)


@task
def trained(values, target):
    model = LogisticRegression(max_iter=200)
    model.fit(values, target)
    return model


@task
def forest(values, target):
    return RandomForestClassifier(n_estimators=5, random_state=0).fit(values, target).predict(values)


@task
def evaluated(values, target):
    model = Pipeline([("scale", StandardScaler()), ("fit", LogisticRegression())])
    started = time.time()
    model.fit(values, target)
    logger.info("fitted in %.2f s", time.time() - started)
    predicted = model.predict(values)
    return {
        "accuracy": accuracy_score(target, predicted),
        "confusion": confusion_matrix(target, predicted).tolist(),
    }


@task
def cross_validated(values, target):
    return cross_val_score(Ridge(), values, target, cv=3).round(9).tolist()


@task
def searched(values, target):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)
    return search.fit(values, target).best_params_


@task
def clustered(values):
    return KMeans(n_clusters=2, n_init=2, random_state=1).fit_predict(values)


@task
def reduced(values):
    return np.abs(PCA(n_components=2, svd_solver="full").fit_transform(values)).round(6)


@task
def weighed(texts):
    return TfidfVectorizer().fit_transform(texts).toarray().round(6)


@task
def tested(a, b):
    found = stats.ttest_ind(a, b)
    return round(float(found.statistic), 9), round(float(found.pvalue), 9)


@task
def minimised(start):
    return optimize.minimize(lambda x: (x - 3) ** 2 + 1, start).x.round(4)


@task
def plotted(values):
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.plot(values)
    axes.set_title("values")
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    plt.close(figure)
    return target.getvalue()


@task
def histogram(frame):
    target = io.BytesIO()
    axes = frame.plot.hist(bins=5)
    axes.figure.savefig(target, format="png", metadata={"Software": None})
    plt.close(axes.figure)
    return len(target.getvalue()) > 100


def square(number):
    return number * number


@task
def in_threads(numbers):
    with ThreadPoolExecutor(max_workers=3) as pool:
        return list(pool.map(square, numbers))


@task
def in_processes(numbers):
    return joblib.Parallel(n_jobs=2)(joblib.delayed(square)(number) for number in numbers)


@task
def timed(size):
    started = time.perf_counter()
    total = sum(number * number for number in range(size))
    print(f"took {time.perf_counter() - started:.3f} s")
    return total


@dataclass
class Trial:
    """A random walk that is made in the body."""

    seed: int
    place: float = 0.0

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)

    def step(self):
        self.place += self.rng.normal()


@task
def walked(seed, steps):
    trial = Trial(seed)
    for _ in range(steps):
        trial.step()
    return trial.place


@contextlib.contextmanager
def measured(name):
    started = time.time()
    yield
    logger.info("%s took %s s", name, round(time.time() - started, 3))


@task
def measured_sum(values):
    with measured("sum"):
        return float(np.sum(values))


@task
def correlated(frame):
    return frame.corr(method="spearman").round(9)


def pair():
    return np.arange(10.0), np.arange(10.0) ** 1.1


Job(solved, lambda: (matrix(), np.ones(4)))
Job(decomposed, lambda: (matrix(),))
Job(normalised, lambda: (matrix(),))
Job(simulated, lambda: (5, 20))
Job(bootstrapped, lambda: (list(range(30)),))
Job(shuffled, lambda: (list(range(30)), 9))
Job(drawn, lambda: (4,))
Job(split, samples)
Job(trained, samples)
Job(forest, samples)
Job(evaluated, samples)
Job(cross_validated, samples)
Job(searched, samples)
Job(clustered, lambda: samples()[:1])
Job(reduced, lambda: samples()[:1])
Job(weighed, lambda: (["a fox runs", "a dog sleeps", "the fox sleeps"],))
Job(tested, pair)
Job(minimised, lambda: (0.0,))
Job(plotted, lambda: ([1, 3, 2],))
Job(histogram, lambda: (pd.DataFrame({"a": [1, 2, 2, 5]}),))
Job(in_threads, lambda: ([1, 2, 3, 4],))
Job(in_processes, lambda: ([1, 2, 3, 4],))
Job(timed, lambda: (1000,))
Job(walked, lambda: (2, 50))
Job(measured_sum, lambda: (np.arange(9.0),))
Job(correlated, lambda: (pd.DataFrame({"a": [1, 2, 3, 4], "b": [2, 1, 4, 3]}),))
