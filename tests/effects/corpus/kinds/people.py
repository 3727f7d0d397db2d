"""Tasks that ask the person at the terminal."""

import asyncio
import sys

import click
import near
from cases import Case
from prefect import task
from rich.prompt import Prompt


@task
def confirm(mark):
    return input(f"{mark}? ")


@task
def lines(mark):
    return sys.stdin.readline().strip()


@task
def helped(mark):
    return near.ask(mark)


class Form:
    def __init__(self, question):
        self.question = question

    @task
    def ask(self, mark):
        answer = input(self.question)
        return {mark: answer}


@task
async def ask_async(mark):
    return await asyncio.to_thread(input, mark)


@task
def with_click(mark):
    return click.prompt(mark)


@task
def with_rich(mark):
    return Prompt.ask(mark)


Case("person", "direct", confirm, fresh=True)
Case("person", "direct", lines, fresh=True)
Case("person", "helper", helped, fresh=True)
Case("person", "method", Form("Go on? ").ask, fresh=True)
Case("person", "async", ask_async, fresh=True)
Case("person", "third party", with_click, fresh=True)
Case("person", "third party", with_rich, fresh=True)
