"""A flow that asks a person, and leaves artifacts and variables."""

import threading
import time

from executions import ran
from prefect import flow, get_client, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import get_run_context
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.variables import Variable


class Approval(RunInput):
    approved: bool
    note: str = "none"


@task
def draft(topic: str) -> str:
    ran("draft")
    create_markdown_artifact(f"# {topic}", key="existing-draft")
    return f"about {topic}"


@task
def publish(text: str, note: str) -> str:
    ran("publish")
    create_table_artifact([{"text": text, "note": note}], key="existing-published")
    return f"{text} ({note})"


def answer(flow_run_id) -> None:
    with get_client(sync_client=True) as client:
        for _ in range(600):
            # A run is paused before it has said what it asks for; until then no answer is accepted.
            if client.read_flow_run(flow_run_id).state.is_paused():
                answered = client.resume_flow_run(flow_run_id, run_input={"approved": True, "note": "fine"})
                if answered.status == SetStateStatus.ACCEPT:
                    return
            time.sleep(0.1)


@flow
def main() -> list[str]:
    Variable.set("existing_topic", "caches", overwrite=True)
    text = draft(Variable.get("existing_topic"))
    threading.Thread(target=answer, args=(get_run_context().flow_run.id,)).start()
    approval = pause_flow_run(wait_for_input=Approval, timeout=120, poll_interval=1)
    assert approval.approved
    return [publish(text, approval.note)]
