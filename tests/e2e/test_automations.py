"""Prefect's automations on our artifacts: something follows each run of a project."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.automations import AutomationCore
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture

from expops_prefect import EXPOPS, flow, task
from tests.config.support import make_project
from tests.support.server import wait_until


@pytest.mark.usefixtures("prefect_events")
def test_a_summary_starts_a_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project_id = f"shop-{uuid4().hex[:8]}"
    make_project(tmp_path / "shop", f"prefect: {{project_id: {project_id}}}\n")
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    ran: list[int] = []

    @task(ignore=["ran"], cache_policy=EXPOPS)
    def double(number: int, ran: list[int]) -> int:
        ran.append(number)
        return number * 2

    @flow
    def main() -> int:
        return double(2, ran)

    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow_from_name("report"), name=project_id)
        trigger = EventTrigger(
            expect={"prefect.artifact-collection.created", "prefect.artifact-collection.updated"},
            match={"prefect.resource.name": f"expops-{project_id}"},
            posture=Posture.Reactive,
            threshold=1,
        )
        action = RunDeployment(
            deployment_id=deployment,
            parameters={"summary": "{{ event.payload.data }}"},
            source="selected",
            job_variables=None,
        )
        automation = client.create_automation(AutomationCore(name=project_id, trigger=trigger, actions=[action]))
        try:
            for count in (1, 2):
                assert main() == 4
                wait_for(deployment, count)
        finally:
            client.delete_automation(automation)
    assert ran == [2]
    # What it is given is what somebody reads in Prefect's UI.
    heads = {str(run.parameters["summary"]).partition(" from the cache")[0] for run in started(deployment)}
    assert heads == {"**completed**: 1 executed, 0", "**completed**: 0 executed, 1"}


def wait_for(deployment: object, count: int) -> None:
    wait_until(lambda: len(started(deployment)) == count, 90, "the deployment is started")


def started(deployment: object) -> list[FlowRun]:
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))  # type: ignore[list-item]
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(deployment_filter=chosen)
