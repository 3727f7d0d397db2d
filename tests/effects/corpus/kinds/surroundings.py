"""Tasks whose result depends on the process, the machine or the user."""

import getpass
import os
import platform
import sys

import near
import psutil
from cases import Case
from prefect import task


@task
def process(mark):
    return f"{mark}@{os.getpid()}"


@task
def folder(mark):
    return os.path.basename(os.getcwd())


@task
def everything(mark):
    return sorted(name for name in os.environ if name.startswith("CORPUS"))


@task
def everything_copied(mark):
    settings = dict(os.environ)
    return settings.get("CORPUS_RUN")


@task
def arguments(mark):
    return sys.argv[1:]


@task
def helped(mark):
    return near.where()


class Worker:
    def __init__(self, name):
        self.name = name

    def identity(self):
        return f"{self.name}/{os.getppid()}/{os.getpid()}"

    @task
    def describe(self, mark):
        return self.identity()


@task
async def machine(mark):
    return [platform.node(), getpass.getuser(), os.getpid()]


@task
def load(mark):
    return psutil.Process().create_time()


@task
def free(mark):
    return psutil.virtual_memory().total > 0


Case("environment", "direct", process, fresh=True)
Case("environment", "direct", folder)
Case("environment", "direct", everything)
Case("environment", "direct", everything_copied, fresh=True)
Case("environment", "direct", arguments, fresh=True)
Case("environment", "helper", helped, fresh=True)
Case("environment", "method", Worker("w").describe, fresh=True)
Case("environment", "async", machine, fresh=True)
Case("environment", "third party", load, fresh=True)
Case("environment", "third party", free)
