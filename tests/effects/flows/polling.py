"""A job elsewhere is started, and asked for until it is done."""

import os
import time

import requests
from prefect import flow, task

API = os.environ["SHOP_API"]


@task
def start_job(name: str) -> str:
    return requests.post(f"{API}/jobs", json={"name": name}, timeout=30).json()["id"]


@task
def job_status(job: str) -> str:
    return requests.get(f"{API}/jobs/{job}", timeout=30).json()["status"]


@task
def job_result(job: str) -> dict:
    return requests.get(f"{API}/results/{job}", timeout=30).json()


@flow
def run_job():
    job = start_job("export")
    asked = 0
    while job_status(job) != "done":
        asked += 1
        if asked > 20:
            raise TimeoutError("the job does not end")
        time.sleep(0.01)
    return [asked, job_result(job)]


def main():
    return run_job()
