"""What of Prefect changes or asks the server. Loggers, futures and nested tasks do no harm."""

ENTRIES = {
    "prefect": """
        prefect.artifacts prefect.events prefect.blocks prefect.runtime prefect.context prefect.client
        prefect.get_client prefect.deployments prefect.serve prefect.deploy prefect.automations prefect.input
        prefect.pause_flow_run prefect.suspend_flow_run prefect.resume_flow_run prefect.flow_runs prefect.flow_engine
        prefect.engine.pause_flow_run prefect.engine.suspend_flow_run prefect.engine.resume_flow_run
        prefect.variables prefect.Variable prefect.concurrency prefect.filesystems prefect.settings prefect.server
        prefect.runner prefect.workers prefect.infrastructure prefect.notifications prefect.assets prefect.transactions
        prefect.results prefect.global_concurrency_limits prefect.core prefect.plugins prefect.cli prefect.docker
        prefect_kv prefect_notifications
    """,
    "harmless": """
        prefect prefect.logging prefect.get_run_logger prefect.futures prefect.states prefect.tasks prefect.flows
        prefect.task prefect.flow prefect.task_runners prefect.unmapped prefect.allow_failure prefect.utilities
        prefect.exceptions prefect.tags prefect.cache_policies prefect.types prefect.serializers
        prefect.context.tags prefect.assets.Asset prefect.schedules
        expops_prefect prefect_dask prefect_ray
    """,
}

VARIABLE_READS = frozenset({"prefect.variables.Variable.get", "prefect.Variable.get", "prefect.variables.get",
                            "prefect.variables.Variable.aget", "prefect.Variable.aget"})  # fmt: skip
"""What reads a Variable by its name."""

TASK_METHODS = frozenset("submit map delay apply_async with_options serve".split())
"""Methods of tasks that run them."""
