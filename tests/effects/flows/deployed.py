"""A flow that is loaded from its file, as a deployment's runs do."""

from pathlib import Path

from prefect import flow, task
from prefect.flows import load_flow_from_entrypoint


@task
def tokens(path: str) -> list[str]:
    return Path(path).read_text().split()


@task
def frequency(words: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


@task
def write(counts: dict[str, int], path: str) -> str:
    Path(path).write_text("\n".join(f"{word} {count}" for word, count in sorted(counts.items())))
    return path


@flow(name="deployed-counts")
def counts(path: str = "data/words.txt"):
    return write(frequency(tokens(path)), "out/counts.txt")


def main():
    loaded = load_flow_from_entrypoint("deployed.py:counts")
    return loaded(path="data/words.txt")
