"""Tasks that use Prefect itself."""

import os

import httpx
import near
import prefect
from cases import Case
from prefect import get_client, get_run_logger, task
from prefect.artifacts import Artifact, create_link_artifact, create_table_artifact
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.context import FlowRunContext, TaskRunContext, get_run_context
from prefect.events import Event, emit_event
from prefect.runtime import flow_run
from prefect.variables import Variable


@task
def table(mark):
    create_table_artifact(key=mark, table=[{"rows": 3}])
    return 3


@task
def helped_markdown(mark):
    return near.publish(mark)


class Report:
    def __init__(self, link):
        self.link = link

    def publish(self, key):
        return str(create_link_artifact(key=key, link=self.link))

    @task
    def link_to(self, mark):
        self.publish(mark)
        return "linked"


@task
async def markdown(mark):
    from prefect.artifacts import acreate_markdown_artifact

    await acreate_markdown_artifact(key=mark, markdown="# Done")
    return "done"


@task
def artifact_object(mark):
    artifact = Artifact(type="markdown", key=mark, data="# Object")
    artifact.create()
    return "created"


Case("prefect: artifact", "direct", table, world=True)
Case("prefect: artifact", "helper", helped_markdown, world=True)
Case("prefect: artifact", "method", Report("https://reports.example/1").link_to, world=True)
Case("prefect: artifact", "async", markdown, world=True)
Case("prefect: artifact", "third party", artifact_object, world=True)


def resource(mark):
    return {"prefect.resource.id": f"corpus.{mark}"}


@task
def emit(mark):
    emit_event("corpus.direct", resource=resource(mark))
    return "told"


@task
def helped_notify(mark):
    return near.notify(mark)


class Notifier:
    def __init__(self, name):
        self.name = name

    @task
    def tell(self, mark):
        emit_event(event=f"corpus.{self.name}", resource=resource(mark), payload={"rows": 2})
        return self.name


@task
async def emit_async(mark):
    emit_event("corpus.async", resource=resource(mark))
    return 1


@task
def emit_with_client(mark):
    event = emit_event
    sent = event("corpus.alias", resource=resource(mark))
    return sent.event if isinstance(sent, Event) else None


Case("prefect: event", "direct", emit, world=True)
Case("prefect: event", "helper", helped_notify, world=True)
Case("prefect: event", "method", Notifier("method").tell, world=True)
Case("prefect: event", "async", emit_async, world=True)
Case("prefect: event", "third party", emit_with_client, world=True)


@task
def set_variable(mark):
    Variable.set(mark.replace("-", "_"), "1", overwrite=True)
    return mark


@task
def helped_save(mark):
    return near.save(mark, "2")


class Watermark:
    def __init__(self, day):
        self.day = day

    def store(self, name):
        Variable.set(name=name.replace("-", "_"), value=self.day, overwrite=True)

    @task
    def advance(self, mark):
        self.store(mark)
        return self.day


@task
async def set_async(mark):
    await Variable.aset(mark.replace("-", "_"), {"rows": 3}, overwrite=True)
    return {"rows": 3}


@task
def set_through_module(mark):
    prefect.variables.Variable.set(mark.replace("-", "_"), [1], overwrite=True)
    return [1]


Case("prefect: set variable", "direct", set_variable, world=True)
Case("prefect: set variable", "helper", helped_save, world=True)
Case("prefect: set variable", "method", Watermark("2026-01-01").advance, world=True)
Case("prefect: set variable", "async", set_async, world=True)
Case("prefect: set variable", "third party", set_through_module, world=True)


@task
def load_secret(mark):
    return Secret.load("corpus").get()


@task
def helped_secret(mark):
    return near.password()


class Vault:
    def __init__(self, name):
        self.name = name

    @task
    def open(self, mark):
        return Secret.load(self.name).get()


@task
async def load_async(mark):
    secret = await Secret.aload("corpus")
    return secret.get()


@task
def load_block(mark):
    return Block.load("secret/corpus").get()


Case("prefect: secret", "direct", load_secret, fresh=True)
Case("prefect: secret", "helper", helped_secret, fresh=True)
Case("prefect: secret", "method", Vault("corpus").open, fresh=True)
Case("prefect: secret", "async", load_async, fresh=True)
Case("prefect: secret", "third party", load_block, fresh=True)


@task
def run_id(mark):
    return flow_run.id


@task
def helped_name(mark):
    return near.run_name()


class Labels:
    @task
    def current(self, mark):
        return str(get_run_context().task_run.id)


@task
async def context(mark):
    return str(TaskRunContext.get().task_run.id)


@task
def through_module(mark):
    get_run_logger().info("in %s", mark)
    return prefect.runtime.flow_run.name


@task
def flow_context(mark):
    found = FlowRunContext.get()
    return str(found.flow_run.id) if found else None


Case("prefect: runtime", "direct", run_id, fresh=True)
Case("prefect: runtime", "direct", flow_context)
Case("prefect: runtime", "helper", helped_name, fresh=True)
Case("prefect: runtime", "method", Labels().current, fresh=True)
Case("prefect: runtime", "async", context, fresh=True)
Case("prefect: runtime", "third party", through_module, fresh=True)


@task
def flows(mark):
    with get_client(sync_client=True) as client:
        return len(client.read_flows(limit=2))


@task
def helped_count(mark):
    return near.count_runs()


class Server:
    def client(self):
        return get_client(sync_client=True)

    @task
    def version(self, mark):
        with self.client() as client:
            return client.api_version()


@task
async def flows_async(mark):
    async with get_client() as client:
        return len(await client.read_flows(limit=2))


@task
def through_http(mark):
    return httpx.get(f"{os.environ['PREFECT_API_URL']}/health").json()


Case("prefect: client", "direct", flows)
Case("prefect: client", "helper", helped_count)
Case("prefect: client", "method", Server().version)
Case("prefect: client", "async", flows_async)
Case("prefect: client", "third party", through_http)
