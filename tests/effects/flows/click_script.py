"""A command of click."""

import click
from prefect import flow, task


@task
def greeting(name: str, loud: bool) -> str:
    text = f"hello {name}"
    return text.upper() if loud else text


@task
def tell(text: str) -> str:
    click.echo(text)
    return text


@flow
def greet(name: str, loud: bool):
    return tell(greeting(name, loud))


@click.command()
@click.option("--name", default="ann")
@click.option("--loud", is_flag=True)
def command(name, loud):
    return greet(name, loud)


def main():
    return command.main(["--loud"], standalone_mode=False)
