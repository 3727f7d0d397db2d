"""Encoders for clients, registries and similar objects, which each process creates for itself.

If code refers to them, they are encoded by their class and the plain data in their configuration. That
includes names of servers and folders, and what changes results, such as the units in a registry. It
excludes secrets, memory addresses, counters and caches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from expops_prefect.fingerprint import cffi_libraries, compiled, mapped, mocks, statements
from expops_prefect.fingerprint.canonical import ATOMS, Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import named, text
from expops_prefect.fingerprint.identity import class_name

_SECRET: Final = re.compile(
    r"pass(wor[dt]|wd|phrase)|secret|token|credential|api_?key|private|auth|cookie|session", re.IGNORECASE
)


def _plain(items: Mapping[str, Any]) -> dict[str, Any]:
    """The plain data in a configuration, without secrets."""
    return {
        name: value
        for name, value in sorted(items.items())
        if type(name) is str and type(value) in ATOMS and not _SECRET.search(name)
    }


def _nothing(_value: Any) -> Any:
    return None


def _headers(value: Any) -> Any:
    return _plain({str(name): str(held) for name, held in dict(value.headers).items()})


def _requests(value: Any) -> Any:
    return _headers(value), str(value.verify), value.max_redirects


def _httpx(value: Any) -> Any:
    return _headers(value), str(value.base_url), repr(value.timeout), value.follow_redirects


def _redis(value: Any) -> Any:
    return _plain(value.connection_pool.connection_kwargs)


def _engine(value: Any) -> Any:
    return value.url.render_as_string(hide_password=True)


def _boto3_client(value: Any) -> Any:
    meta = value.meta
    return meta.service_model.service_name, meta.region_name, meta.endpoint_url


def _boto3_resource(value: Any) -> Any:
    meta = value.meta
    return meta.service_name, [str(getattr(value, name)) for name in meta.identifiers], _boto3_client(meta.client)


def _boto3_session(value: Any) -> Any:
    return value.region_name, value.profile_name


def _units(value: Any) -> Any:
    """A pint registry by its definitions, without its caches."""
    value = value.get() if type(value).__name__ == "ApplicationRegistry" else value
    if type(value).__name__ == "LazyRegistry":
        return None  # it has not been used yet
    prefixes = tuple(sorted(map(str, value._prefixes)))
    found = {}
    for name, unit in dict(value._units).items():
        made = any(part and name.startswith(part) and name[len(part) :] in value._units for part in prefixes)
        if not made:
            found[name] = f"{unit.converter!r} {unit.reference!r}"
    return found, value.autoconvert_offset_to_baseunit, str(value.formatter.default_format)


def _faker(value: Any) -> Any:
    return list(value.locales)


def _spacy(value: Any) -> Any:
    return value.lang, list(value.pipe_names), repr(sorted(value.meta.items(), key=str))


_KINDS: Final[dict[str, Callable[[Any], Any]]] = {
    "loguru._logger:Logger": _nothing,
    "structlog._config:BoundLoggerLazyProxy": _nothing,
    "structlog._base:BoundLoggerBase": _nothing,
    "requests.sessions:Session": _requests,
    "httpx._client:BaseClient": _httpx,
    "httpx:BaseClient": _httpx,
    "redis.client:Redis": _redis,
    "redis.asyncio.client:Redis": _redis,
    "sqlalchemy.engine.base:Engine": _engine,
    "botocore.client:BaseClient": _boto3_client,
    "boto3.resources.base:ServiceResource": _boto3_resource,
    "boto3.session:Session": _boto3_session,
    "botocore.session:Session": _nothing,
    "faker.proxy:Faker": _faker,
    "faker.generator:Generator": _nothing,
    "spacy.language:Language": _spacy,
    "concurrent.futures._base:Executor": _nothing,
    "multiprocessing.pool:Pool": _nothing,
    "aiohttp.client:ClientSession": _nothing,
    "urllib3.poolmanager:PoolManager": _nothing,
    "pymongo.synchronous.mongo_client:MongoClient": _nothing,
    "pymongo.mongo_client:MongoClient": _nothing,
    "google.cloud.client:Client": _nothing,
    "dask.distributed:Client": _nothing,
    "distributed.client:Client": _nothing,
}
_REGISTRIES: Final[dict[str, Callable[[Any], Any]]] = {
    "pint.facets.plain.registry:GenericPlainRegistry": _units,
    "pint.registry:LazyRegistry": _units,
    "pint.registry:ApplicationRegistry": _units,
}
"""Kinds that are also accepted as arguments, because they hold no connection."""
_FIGURE: Final = "it counts what was drawn with it; pass what it shows, or the picture's bytes"
_TEXT: Final = "it belongs to a pipeline of spaCy, which each process makes anew; pass its text or doc.to_json()"
_REFUSED: Final = {
    "matplotlib.artist:Artist": _FIGURE,
    "pandas.io.formats.style:Styler": "it has a random id of its own; pass its frame, and style that in the task",
    "sqlalchemy.orm.state:InstanceState": "it is an object of a database session; pass its columns",
    "spacy.tokens.doc:Doc": _TEXT,
    "spacy.tokens.span:Span": _TEXT,
    "spacy.tokens.token:Token": _TEXT,
    "spacy.vocab:Vocab": _TEXT,
    "spacy.language:Language": "a pipeline of spaCy holds what each process makes anew; pass its name",
}
_CONNECTION: Final = "it is a client or a logger, of which each process has its own; make it in the task"


def _tree(walk: Walk, value: Any) -> bytes:
    """A scikit-learn neighbours tree, without its query counters."""
    known = walk.enter(value)
    if known is not None:
        return known
    state = value.__getstate__()
    parts = [part for index, part in enumerate(state) if index not in _COUNTS]
    return walk.leave(value, named("tree", text(class_name(type(value))), walk.sequence(parts)))


def _image(walk: Walk, value: Any) -> bytes:
    """A Pillow image with its EXIF data, which are not in its state after they were changed."""
    from expops_prefect.fingerprint.objects import encode_object

    form = encode_object(walk, value)
    if getattr(value, "_exif", None) is None and "exif" not in value.info:
        return form
    tags = sorted(dict(value.getexif()).items())
    return named("image", form, walk.encode(repr(tags))) if tags else form


_COUNTS: Final = range(7, 11)
_OWN: Final[dict[str, Encoder]] = {
    "PIL.Image:Image": _image,
    "_ctypes:CFuncPtr": compiled.library_function,
    "ctypes:CDLL": compiled.library,
    "torch.jit:torch.jit.ScriptFunction": compiled.script,
    "unittest.mock:NonCallableMock": mocks.encode_mock,
    **cffi_libraries.ENCODERS,
    **mapped.ENCODERS,
    **statements.ENCODERS,
    "sklearn.neighbors._kd_tree:BinaryTree32": _tree,
    "sklearn.neighbors._kd_tree:BinaryTree64": _tree,
    "sklearn.neighbors._ball_tree:BinaryTree32": _tree,
    "sklearn.neighbors._ball_tree:BinaryTree64": _tree,
}


def encoder_of(cls: type) -> Encoder | None:
    """The encoder of such a class and its subclasses; ``None`` for other classes."""
    name = f"{cls.__module__}:{cls.__qualname__}"
    own = _OWN.get(name)
    if own is not None:
        return own
    registry = _REGISTRIES.get(name)
    if registry is not None:
        return _by_kind(registry, None)
    configuration, refusal = _KINDS.get(name), _REFUSED.get(name)
    if configuration is None and refusal is None:
        return None
    return _by_kind(configuration or _nothing, refusal or _CONNECTION)


def _by_kind(configuration: Callable[[Any], Any], refusal: str | None) -> Encoder:
    def encode(walk: Walk, value: Any) -> bytes:
        if refusal is not None and not walk.lenient:
            return walk.refuse(value, refusal)
        cls = type(value)
        if walk.classes is not None:
            walk.classes.add(cls)
        try:
            plain = configuration(value)
        except Exception:  # noqa: BLE001 - another release of the library, or a class derived from it
            plain = None
        return named("kind", text(class_name(cls)), walk.encode(plain))

    return encode
