"""What differs from machine to machine and from process to process."""

import re

ENTRIES = {
    "environment": """
        os.getpid os.getppid os.getpgid os.getpgrp os.getsid os.getuid os.geteuid os.getgid os.getegid os.getgroups
        os.getcwd os.getcwdb os.getlogin os.uname os.ctermid os.ttyname os.get_terminal_size os.getloadavg os.times
        os.environ os.environb os.getenvb
        pathlib.Path.cwd pathlib.PosixPath.cwd
        sys.argv sys.stdin sys.orig_argv
        socket.gethostname socket.getfqdn
        getpass.getuser pwd grp
        platform.node platform.uname platform.platform platform.freedesktop_os_release
        locale.getlocale locale.getdefaultlocale locale.getpreferredencoding locale.localeconv
        time.tzset
        shutil.which shutil.disk_usage shutil.get_terminal_size resource psutil GPUtil pynvml cpuinfo
        argparse.ArgumentParser.parse_args argparse.ArgumentParser.parse_known_args
        dotenv.dotenv_values dotenv.load_dotenv dotenv.find_dotenv decouple.config environs.Env environ.Env
        pydantic_settings.BaseSettings pydantic_settings.main.BaseSettings dynaconf starlette.config
        getmac netifaces ifaddr
    """,
    "state": """
        os.putenv os.unsetenv os.chdir os.fchdir os.umask os.nice os.setuid os.setgid os.chroot locale.setlocale
        signal.signal signal.alarm signal.setitimer atexit.register sys.setprofile sys.settrace
        sys.addaudithook sys.setrecursionlimit sys.setswitchinterval gc.set_threshold decimal.setcontext
        csv.register_dialect csv.field_size_limit mimetypes.add_type codecs.register copyreg.pickle
        sqlite3.register_adapter sqlite3.register_converter
        matplotlib.rc matplotlib.rcdefaults matplotlib.style.use matplotlib.pyplot.rc
        matplotlib.pyplot.rcdefaults matplotlib.pyplot.style.use
        seaborn.set_theme seaborn.set seaborn.set_style seaborn.set_palette seaborn.set_context
        seaborn.rcmod.set_theme seaborn.rcmod.set_style seaborn.rcmod.set_context seaborn.palettes.set_palette
        torch.set_num_threads torch.set_default_dtype torch.set_default_device torch.use_deterministic_algorithms
        torch.set_grad_enabled torch.set_float32_matmul_precision
        pandas.api.extensions.register_dataframe_accessor pandas.api.extensions.register_series_accessor
        pandas.set_option pandas.reset_option pandas._config.config.set_option pandas._config.config.reset_option
        numpy.seterr numpy.set_printoptions sklearn.set_config sklearn._config.set_config
    """,
}

NAMED = {
    "os.path.expanduser": "HOME",
    "posixpath.expanduser": "HOME",
    "pathlib.Path.home": "HOME",
    "pathlib.Path.expanduser": "HOME",
    "shutil.which": "PATH",
}
"""What reads one variable of the environment, whose name the code does not say."""

WHOLE = "os.environ"
"""The environment itself."""

GETS = ("os.getenv", "os.environ.get", "os.environ.__getitem__")
"""What reads a variable by its name."""

EXPANDS = ("os.path.expandvars", "posixpath.expandvars")
"""What puts variables into a text that names them."""

_NAMES_IN = re.compile(r"\$(\w+|\{[^}]*\})")

SETS = ("os.environ.pop", "os.environ.setdefault", "os.environ.update", "os.environ.clear", "os.environ.__setitem__")
"""What changes variables."""


def names_in(text: str) -> set[str]:
    """The variables that :func:`os.path.expandvars` would put into a text."""
    return {name.strip("{}") for name in _NAMES_IN.findall(text)}
