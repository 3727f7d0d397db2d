"""Polygons."""

import json


def load_shape(path):
    with open(path) as source:
        return [tuple(point) for point in json.load(source)["points"]]


def area(points):
    pairs = zip(points, points[1:] + points[:1])
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2
