"""What starts other programs. Python's own pools compute: what runs in them is looked into."""

ENTRIES = {
    "process": """
        subprocess os.system os.popen os.execv os.execve os.execvp os.execvpe os.execl os.execle os.execlp os.execlpe
        os.fork os.forkpty os.posix_spawn os.posix_spawnp os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv
        os.spawnve os.spawnvp os.spawnvpe os.kill os.killpg os.abort os._exit os.startfile os.wait os.waitpid
        pty sh plumbum pexpect invoke fabric delegator envoy commands popen2
        asyncio.create_subprocess_exec asyncio.create_subprocess_shell anyio.run_process anyio.open_process
        asyncio.subprocess trio.run_process
        prefect_shell prefect_dbt dbt git docker podman kubernetes ansible ansible_runner
        papermill nbconvert.preprocessors.ExecutePreprocessor nbclient runpy
        webbrowser ffmpeg selenium playwright pyppeteer splinter
        rpy2 matlab.engine julia
    """,
    "harmless": "subprocess.PIPE subprocess.DEVNULL subprocess.STDOUT subprocess.list2cmdline",
}
