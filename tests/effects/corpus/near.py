"""What tasks import; the effects are one module further."""

import far


def stamp():
    return {"at": far.stamp()}


def draw(low, high):
    return [far.draw(low, high) for _ in range(3)]


def token():
    return far.token()


def where():
    return {"host": far.where()}


def fetch(mark):
    return far.fetch(f"/{mark}").strip()


def insert(mark):
    return far.insert(far.database(), mark)


def execute(mark):
    return far.shell("echo", mark)


def write(mark, text):
    return str(far.write(mark, text))


def remove(mark):
    return far.remove(mark)


def count():
    return far.bump()


def remember(mark):
    return far.remember(mark)


def scale(frame):
    return far.scale(frame).shape[0]


def extend(rows):
    return len(far.extend(rows))


def train(model, values, target):
    return far.train(model, values, target).n_features_in_


def advance(generator):
    return far.advance(generator)


def publish(mark):
    return far.publish(mark)


def notify(mark):
    return far.notify(mark)


def save(mark, value):
    return far.save(mark, value)


def password():
    return far.password()


def run_name():
    return far.run_name()


def count_runs():
    return far.count_runs()


def scan(path):
    return far.scan(path)


def ask(question):
    return far.ask(question).strip()


def read(path):
    return far.read(path).splitlines()


def region():
    return far.region()


def threshold():
    return far.threshold()


def names_in(folder):
    return far.names_in(folder)
