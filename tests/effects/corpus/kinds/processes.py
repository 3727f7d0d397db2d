"""Tasks that start programs."""

import asyncio
import os
import subprocess
from subprocess import check_output

import near
import pexpect
import psutil
from cases import Case
from prefect import task

LOG = "out/commands.txt"


@task
def run(mark):
    return subprocess.run(["sh", "-c", f"echo {mark} >> {LOG}"], check=True).returncode


@task
def system(mark):
    return os.system(f"echo {mark} >> {LOG}")


@task
def output(mark):
    return check_output(f"echo {mark} | tee -a {LOG}", shell=True, text=True)


@task
def helped(mark):
    return near.execute(mark)


class Tool:
    def __init__(self, program):
        self.program = program

    def call(self, *arguments):
        process = subprocess.Popen([self.program, *arguments], stdout=subprocess.PIPE, text=True)
        return process.communicate()[0]

    @task
    def run(self, mark):
        return self.call("-c", f"echo {mark} >> {LOG}; echo done")


@task
async def run_async(mark):
    process = await asyncio.create_subprocess_exec("sh", "-c", f"echo {mark} >> {LOG}")
    return await process.wait()


@task
def through_psutil(mark):
    return psutil.Popen(["sh", "-c", f"echo {mark} >> {LOG}"]).wait()


@task
def through_pexpect(mark):
    return pexpect.run(f"sh -c 'echo {mark} >> {LOG}; echo done'").strip().decode()


Case("process", "direct", run, world=True)
Case("process", "direct", system, world=True)
Case("process", "direct", output, world=True)
Case("process", "helper", helped, world=True)
Case("process", "method", Tool("sh").run, world=True)
Case("process", "async", run_async, world=True)
Case("process", "third party", through_psutil, world=True)
Case("process", "third party", through_pexpect, world=True)
