"""People are told, each time."""

import json
import os
import urllib.request

from prefect import flow, task


class Notifier:
    def __init__(self, channel):
        self.channel = channel

    def send(self, text):
        data = json.dumps({"channel": self.channel, "text": text}).encode()
        with urllib.request.urlopen(f"{os.environ['SHOP_API']}/notify", data=data) as answer:
            return answer.status


notifier = Notifier("#data")


@task
def notify(text: str) -> bool:
    return notifier.send(text) == 200


@task
def message(numbers: list[int]) -> str:
    return f"{len(numbers)} numbers, {sum(numbers)} in sum"


@flow
def told(numbers: list[int]):
    text = message(numbers)
    return [text, notify(text), notify(text)]


def main():
    return told([1, 2, 3])
