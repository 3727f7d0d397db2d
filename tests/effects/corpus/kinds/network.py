"""Tasks that ask a server, or tell it something."""

import json
import os
import socket
import urllib.request
from urllib.parse import urlsplit

import httpx
import near
import pandas as pd
import requests
import urllib3
from cases import Case
from prefect import task
from requests.adapters import HTTPAdapter

SESSION = requests.Session()


@task
def download(mark):
    with urllib.request.urlopen(f"{os.environ['WORLD']}/{mark}") as answer:
        return answer.read().decode()


@task
def get(mark):
    answer = requests.get(f"{os.environ['WORLD']}/{mark}", timeout=30)
    answer.raise_for_status()
    return answer.text


@task
def post(mark):
    return httpx.post(f"{os.environ['WORLD']}/{mark}", json={"mark": mark}).json()


@task
def helped(mark):
    return near.fetch(mark)


class Api:
    def __init__(self, timeout=30):
        self.timeout = timeout

    def _request(self, method, path):
        address = urlsplit(os.environ["WORLD"])
        with socket.create_connection((address.hostname, address.port), timeout=self.timeout) as connection:
            connection.sendall(f"{method} {address.path}{path} HTTP/1.0\r\n\r\n".encode())
            text = b""
            while part := connection.recv(4096):
                text += part
        return text.decode().rpartition("\r\n\r\n")[2]

    @task
    def orders(self, mark):
        return self._request("GET", f"/{mark}")


@task
def through_client(mark):
    return Api()._request("GET", f"/{mark}")


@task
async def get_async(mark):
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{os.environ['WORLD']}/{mark}")
        return answer.text


@task
def with_session(mark):
    return SESSION.get(f"{os.environ['WORLD']}/{mark}").text


@task
def with_own_session(session, mark):
    return session.request("GET", f"{os.environ['WORLD']}/{mark}").text


def make_session():
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=2))
    return session


@task
def with_made_session(mark):
    session = make_session()
    with session:
        return session.get(f"{os.environ['WORLD']}/{mark}").text


@task
def read_table(mark):
    return pd.read_json(f"{os.environ['WORLD']}/{mark}", typ="series").to_dict()


class Endpoint:
    """A client whose methods nobody wrote down, as cloud clients have."""

    def __init__(self, service):
        self._pool = urllib3.PoolManager()
        self._service = service

    def __getattr__(self, operation):
        def call(**fields):
            url = f"{os.environ['WORLD']}/{fields['Key']}"
            return json.loads(self._pool.request("PUT", url, body=operation.encode()).data)

        return call


def client(service):
    return Endpoint(service)


@task
def upload(mark):
    s3 = client("s3")
    return s3.put_object(Bucket="corpus", Key=mark, Body=b"rows")


Case("network", "direct", download, world=True)
Case("network", "direct", get, world=True)
Case("network", "direct", post, world=True)
Case("network", "helper", helped, world=True)
Case("network", "method", Api().orders, world=True)
Case("network", "method", through_client, world=True)
Case("network", "async", get_async, world=True)
Case("network", "third party", with_session, world=True)
Case("network", "third party", with_own_session, args=lambda mark: (requests.Session(), mark), world=True)
Case("network", "third party", with_made_session, world=True)
Case("network", "third party", read_table, world=True)
Case("network", "third party", upload, world=True)
