"""Flows in a flow, one for each region."""

from prefect import flow, task


@task
def load_region(region: str) -> list[int]:
    with open(f"data/region-{region}.csv") as source:
        return [int(line.split(",")[1]) for line in source.readlines()[1:]]


@task
def summarise(values: list[int]) -> dict:
    return {"count": len(values), "total": sum(values)}


@task
def save(region: str, summary: dict) -> str:
    path = f"out/summary-{region}.txt"
    with open(path, "w") as target:
        target.write(f"{region}: {summary}\n")
    return path


@flow(flow_run_name="region-{region}")
def process_region(region: str) -> str:
    return save(region, summarise(load_region(region)))


@flow
def all_regions(regions: list[str]):
    return [process_region(region) for region in regions]


def main():
    return all_regions(["north", "south"])
