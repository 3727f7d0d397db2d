"""A folder is put on the import path by hand."""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from geometry import area, load_shape
from prefect import flow, task


@task
def shape(path):
    return load_shape(path)


@task
def measure(points):
    return area(points)


@flow
def measured():
    return measure(shape("data/shape.json"))


def main():
    return measured()
