"""What changes how the process works for everybody in it, and what asks how it does."""

ENTRIES = {
    "state": """
        gc.freeze gc.unfreeze gc.set_debug gc.disable gc.enable tracemalloc.start tracemalloc.stop
        faulthandler.enable faulthandler.disable faulthandler.register faulthandler.unregister
        faulthandler.dump_traceback_later faulthandler.cancel_dump_traceback_later
        sys.set_int_max_str_digits sys.set_asyncgen_hooks sys.set_coroutine_origin_tracking_depth sys.setdlopenflags
        sys.activate_stack_trampoline sys.monitoring.use_tool_id
        threading.setprofile threading.settrace threading.setprofile_all_threads threading.settrace_all_threads
        codecs.register_error codecs.unregister copyreg.constructor copyreg.add_extension copyreg.remove_extension
        copyreg.clear_extension_cache mimetypes.init csv.unregister_dialect calendar.setfirstweekday
        warnings.simplefilter warnings.filterwarnings warnings.resetwarnings
        logging.disable logging.addLevelName logging.captureWarnings logging.setLoggerClass
        logging.setLogRecordFactory logging.config.dictConfig logging.config.fileConfig logging.config.listen
        logging.shutdown
        loguru.logger.add loguru.logger.remove loguru.logger.configure loguru.logger.level loguru.logger.enable
        loguru.logger.disable structlog.configure structlog.configure_once structlog.reset_defaults
        os.sched_setaffinity os.sched_setscheduler os.sched_setparam os.setpriority os.setpgid os.setsid os.seteuid
        os.setegid os.setreuid os.setregid os.setgroups os.set_blocking os.set_inheritable resource.setrlimit
        resource.prlimit
        multiprocessing.set_start_method multiprocessing.set_executable multiprocessing.set_forkserver_preload
        multiprocessing.context.DefaultContext.set_start_method multiprocessing.context.BaseContext.set_executable
        multiprocessing.context.BaseContext.set_forkserver_preload
        weakref.finalize atexit.unregister asyncio.set_event_loop_policy
        matplotlib.pyplot.switch_backend matplotlib.pyplot.ion matplotlib.pyplot.ioff
        matplotlib.colormaps.register matplotlib.colormaps.unregister matplotlib.cm.ColormapRegistry.register
        matplotlib.cm.ColormapRegistry.unregister matplotlib.scale.register_scale
        matplotlib.projections.register_projection matplotlib.style.reload_library
        matplotlib.font_manager.FontManager.addfont
        pandas.api.extensions.register_index_accessor pandas.api.extensions.register_extension_dtype
        pandas.plotting.register_matplotlib_converters pandas.plotting.deregister_matplotlib_converters
        polars.api.register_dataframe_namespace polars.api.register_lazyframe_namespace
        polars.api.register_series_namespace polars.api.register_expr_namespace
        polars.enable_string_cache polars.disable_string_cache polars.set_random_seed
        yaml.add_constructor yaml.add_multi_constructor yaml.add_representer yaml.add_multi_representer
        yaml.add_implicit_resolver yaml.add_path_resolver
        joblib.register_parallel_backend joblib.parallel.register_parallel_backend joblib.register_store_backend
        joblib.register_compressor joblib.compressor.register_compressor joblib.memory.register_store_backend
        PIL.Image.register_open PIL.Image.register_mime PIL.Image.register_save PIL.Image.register_save_all
        PIL.Image.register_extension PIL.Image.register_extensions PIL.Image.register_decoder
        PIL.Image.register_encoder
        pyarrow.set_cpu_count pyarrow.lib.set_cpu_count pyarrow.set_io_thread_count pyarrow.lib.set_io_thread_count
        pyarrow.set_memory_pool pyarrow.lib.set_memory_pool pyarrow.register_extension_type
        pyarrow.lib.register_extension_type pyarrow.unregister_extension_type pyarrow.lib.unregister_extension_type
        sqlalchemy.event.listen sqlalchemy.event.listens_for sqlalchemy.event.remove sqlalchemy.event.api.listen
        sqlalchemy.event.api.listens_for sqlalchemy.event.api.remove
        numpy.seterrcall numpy.setbufsize numpy.set_string_function
        altair.themes.enable altair.renderers.enable altair.data_transformers.enable
        sys.stdout.reconfigure sys.stderr.reconfigure sys.stdin.reconfigure
        dask.config.set dask.config.update dask.config.update_defaults dask.config.refresh dask.config.ensure_file
        pendulum.set_locale pendulum.set_local_timezone pendulum.week_starts_at pendulum.week_ends_at
        pendulum.travel pendulum.travel_to pendulum.freeze humanize.activate humanize.deactivate
        humanize.i18n.activate humanize.i18n.deactivate gettext.install gettext.textdomain gettext.bindtextdomain
        xml.etree.ElementTree.register_namespace lxml.etree.register_namespace lxml.etree.set_default_parser
        seaborn.reset_defaults seaborn.reset_orig nltk.download cv2.setNumThreads cv2.setRNGSeed
        torch.set_num_interop_threads torch.set_printoptions torch.set_flush_denormal numba.set_num_threads
        spacy.prefer_gpu spacy.require_gpu spacy.require_cpu pint.set_application_registry
        pint.application_registry.set sympy.init_printing xarray.set_options geopandas.options
        jax.config.update tensorflow.random.set_seed tensorflow.keras.utils.set_random_seed
    """,
    "environment": """
        csv.list_dialects csv.get_dialect
        mimetypes.types_map mimetypes.common_types mimetypes.encodings_map mimetypes.suffix_map mimetypes.inited
        mimetypes.knownfiles
        warnings.filters gc.get_objects gc.get_freeze_count gc.get_threshold gc.get_debug gc.callbacks
        tracemalloc.is_tracing faulthandler.is_enabled multiprocessing.get_start_method
        multiprocessing.context.DefaultContext.get_start_method
        multiprocessing.active_children multiprocessing.process.active_children
        matplotlib.pyplot.get_fignums matplotlib.pyplot.fignum_exists matplotlib.pyplot.get_figlabels
        logging.getLevelNamesMapping logging.getHandlerNames logging.lastResort
        dask.config.get dask.config.config pendulum.get_locale pendulum.local_timezone humanize.i18n.get_translation
        torch.get_default_dtype torch.get_default_device torch.get_num_threads PIL.Image.MAX_IMAGE_PIXELS
        PIL.ImageFile.LOAD_TRUNCATED_IMAGES xarray.get_options sympy.printing.get_printer
        jinja2.defaults.DEFAULT_FILTERS jinja2.defaults.DEFAULT_TESTS jinja2.defaults.DEFAULT_NAMESPACE
    """,
}

_CLASSES = [
    *(f"yaml.{module}{name}" for module in ("", "loader.", "cyaml.") for name in
      "Loader SafeLoader FullLoader UnsafeLoader BaseLoader CLoader CSafeLoader CFullLoader CUnsafeLoader".split()),
    *(f"yaml.{module}{name}" for module in ("", "dumper.", "cyaml.") for name in
      "Dumper SafeDumper BaseDumper CDumper CSafeDumper".split()),
]  # fmt: skip
_ADDS = """
    add_constructor add_multi_constructor add_representer add_multi_representer add_implicit_resolver add_path_resolver
""".split()
_ADDED = """
    yaml_constructors yaml_multi_constructors yaml_representers yaml_multi_representers yaml_implicit_resolvers
""".split()
ENTRIES["state"] += " ".join(f"{cls}.{name}" for cls in _CLASSES for name in _ADDS)
ENTRIES["environment"] += " ".join(f"{cls}.{name}" for cls in _CLASSES for name in _ADDED)

ASKS = frozenset(
    """
    threading.current_thread threading.main_thread threading.active_count threading.enumerate threading.get_ident
    threading.get_native_id asyncio.current_task asyncio.all_tasks asyncio.tasks.current_task asyncio.tasks.all_tasks
    multiprocessing.current_process multiprocessing.process.current_process
    sys._getframe inspect.currentframe inspect.stack
    sys.getrecursionlimit sys.getswitchinterval gc.isenabled gc.get_count gc.get_stats
    matplotlib.pyplot.gcf matplotlib.pyplot.gca
    """.split()
)
"""What asks about the process, which does no harm where the answer is only logged."""

ASKED_METHODS = frozenset({"isEnabledFor", "getEffectiveLevel", "hasHandlers"})
"""The same of loggers, whatever they are called."""

ASKED_OF_LOGGERS = frozenset({"level", "handlers", "propagate", "disabled", "filters"})

SHARED = {
    "logging.getLogger": "logging.Logger",
    "logging.getChild": "logging.Logger",
    "prefect.get_run_logger": "logging.LoggerAdapter",
    "prefect.logging.get_run_logger": "logging.LoggerAdapter",
    "prefect.logging.loggers.get_run_logger": "logging.LoggerAdapter",
    "prefect.logging.get_logger": "logging.Logger",
    "prefect.logging.loggers.get_logger": "logging.Logger",
    "threading.current_thread": "threading.Thread",
    "threading.main_thread": "threading.Thread",
    "decimal.getcontext": "decimal.Context",
}
"""What gives an object that is everybody's, and its class."""

FIGURES = ("matplotlib.pyplot.figure", "matplotlib.pyplot.subplots", "matplotlib.pyplot.subplot_mosaic")
"""What makes the figure that is the current one from then on."""
CURRENT_FIGURE = ("matplotlib.pyplot.gcf", "matplotlib.pyplot.gca")

UNDONE_BY = {
    "gc.disable": "enable",
    "gc.enable": "disable",
    "tracemalloc.start": "stop",
    "tracemalloc.stop": "start",
    "random.setstate": "getstate",
    "numpy.random.set_state": "get_state",
    "numpy.random.mtrand.set_state": "get_state",
    "torch.set_rng_state": "get_rng_state",
}
"""What does no harm in a body that calls this as well."""

UNDONE_AT_THE_END = {"addHandler": "removeHandler", "addFilter": "removeFilter"}
"""The same if it is called whatever happens, in ``finally``; and the call that undoes it, then."""

WITHIN = {
    "warnings.catch_warnings": "warnings",
    "decimal.localcontext": "decimal",
    "numpy.errstate": "numpy",
    "numpy.printoptions": "numpy",
    "pandas.option_context": "pandas",
    "polars.Config": "polars",
    "polars.config.Config": "polars",
}
"""Contexts that restore what was changed of a module within them."""

ONLY_WITH_ARGUMENTS = {"threading.stack_size": "environment"}
"""What changes something if it is given something, and asks else."""

GENERATORS = ("random.setstate", "numpy.random.set_state", "numpy.random.mtrand.set_state", "torch.set_rng_state")
"""What sets the state of a global generator of random numbers."""

OF_CLASSES = ("polars.Config.set_", "polars.config.Config.set_", "polars.Config.load", "polars.config.Config.load",
              "polars.Config.restore_defaults", "polars.config.Config.restore_defaults")  # fmt: skip
"""Methods that change something for everybody if they are called on the class."""

LOCAL_TIMES = frozenset(
    """
    time.localtime time.ctime time.mktime datetime.datetime.fromtimestamp datetime.date.fromtimestamp
    email.utils.localtime
    """.split()
)
"""What reads the machine's time zone, unless it is given one as its second argument."""
ZONE = "TZ"
"""The variable that says which zone that is."""
