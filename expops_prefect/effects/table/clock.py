"""What tells the time. ``perf_counter``, ``monotonic`` and ``process_time`` measure; they do not count."""

ENTRIES = {
    "clock": """
        time.time time.time_ns time.ctime time.localtime time.gmtime time.clock_gettime time.clock_gettime_ns
        time.strftime time.asctime
        datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today
        pandas.Timestamp.now pandas.Timestamp.utcnow pandas.Timestamp.today
        pandas._libs.tslibs.timestamps.Timestamp.now pandas._libs.tslibs.timestamps.Timestamp.utcnow
        pandas._libs.tslibs.timestamps.Timestamp.today pandas.Period.now
        pendulum.now pendulum.today pendulum.tomorrow pendulum.yesterday pendulum.DateTime.now pendulum.DateTime.utcnow
        arrow.now arrow.utcnow arrow.Arrow.now arrow.Arrow.utcnow
        django.utils.timezone.now maya.now whenever.Instant.now whenever.ZonedDateTime.now
        prefect.types._datetime.now prefect.utilities.dates
        humanize.naturaltime dateparser.parse
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

OF_TEXTS = frozenset(
    {
        *("pandas.to_datetime", "pandas.core.tools.datetimes.to_datetime", "numpy.datetime64", "pandas.Timestamp"),
        "pandas._libs.tslibs.timestamps.Timestamp",
    }
)
"""What reads a time out of a text, and the clock where the text is one of these."""
NOW = frozenset({"now", "today"})
