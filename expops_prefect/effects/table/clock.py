"""What tells the time."""

MEASURES = frozenset(
    """
    time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns time.process_time time.process_time_ns
    time.thread_time time.thread_time_ns timeit.default_timer
    """.split()
)
"""What only measures: the difference of two such times does not count, as honest tasks time themselves."""

ENTRIES = {
    "clock": """
        time.time time.time_ns time.ctime time.localtime time.gmtime time.clock_gettime time.clock_gettime_ns
        time.strftime time.asctime
        time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns time.process_time time.process_time_ns
        time.thread_time time.thread_time_ns timeit.default_timer
        datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today
        pandas.Timestamp.now pandas.Timestamp.utcnow pandas.Timestamp.today
        pandas._libs.tslibs.timestamps.Timestamp.now pandas._libs.tslibs.timestamps.Timestamp.utcnow
        pandas._libs.tslibs.timestamps.Timestamp.today pandas.Period.now
        pendulum.now pendulum.today pendulum.tomorrow pendulum.yesterday pendulum.DateTime.now pendulum.DateTime.utcnow
        arrow.now arrow.utcnow arrow.Arrow.now arrow.Arrow.utcnow
        django.utils.timezone.now maya.now whenever.Instant.now whenever.ZonedDateTime.now
        prefect.types._datetime.now prefect.utilities.dates
        humanize.naturaltime dateparser.parse logging.makeLogRecord
    """,
}

UNLESS_GIVEN = {
    "time.localtime": 0,
    "time.gmtime": 0,
    "time.ctime": 0,
    "time.asctime": 0,
    "time.strftime": 1,
}
"""Those that tell the time only without the argument at this place."""

BY_NAME = frozenset("now utcnow today".split())
"""The last names of those that are called by a text."""

OF_TEXTS = frozenset(
    {
        *("pandas.to_datetime", "pandas.core.tools.datetimes.to_datetime", "numpy.datetime64", "pandas.Timestamp"),
        "pandas._libs.tslibs.timestamps.Timestamp",
    }
)
"""What reads a time out of a text, and the clock where the text is one of these."""
NOW = frozenset({"now", "today"})
