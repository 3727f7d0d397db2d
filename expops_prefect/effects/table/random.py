"""What draws random numbers: of a global generator, which a seed makes repeatable, or of the system."""

import sys

GLOBAL = {
    "random": """
        random.random random.randint random.randrange random.choice random.choices random.sample random.shuffle
        random.uniform random.gauss random.normalvariate random.triangular random.betavariate random.expovariate
        random.gammavariate random.lognormvariate random.vonmisesvariate random.paretovariate random.weibullvariate
        random.getrandbits random.randbytes random.binomialvariate
    """,
    "numpy": "numpy.random",
    "torch": """
        torch.rand torch.randn torch.randint torch.randperm torch.normal torch.bernoulli torch.multinomial torch.poisson
        torch.rand_like torch.randn_like torch.randint_like torch.nn.init torch.nn.Dropout torch.nn.functional.dropout
        torch.nn.Linear torch.nn.Conv1d torch.nn.Conv2d torch.nn.LSTM torch.nn.GRU torch.nn.Embedding
        torch.utils.data.random_split
    """,
}
"""Of global generators, by what they are called in ``seeds``."""

SEEDS = {
    "random.seed": "random",
    "numpy.random.seed": "numpy",
    "torch.manual_seed": "torch",
    "torch.random.manual_seed": "torch",
    "torch.cuda.manual_seed": "",
    "torch.cuda.manual_seed_all": "",
    "pytorch_lightning.seed_everything": "random numpy torch",
    "lightning.seed_everything": "random numpy torch",
    "lightning.fabric.utilities.seed.seed_everything": "random numpy torch",
    "lightning_fabric.utilities.seed.seed_everything": "random numpy torch",
    "transformers.set_seed": "random numpy torch",
    "transformers.trainer_utils.set_seed": "random numpy torch",
    "accelerate.utils.set_seed": "random numpy torch",
}
"""What seeds global generators."""

SEEDED = """
    numpy.random.default_rng numpy.random.RandomState numpy.random.mtrand.RandomState numpy.random.SeedSequence
    numpy.random.bit_generator.SeedSequence numpy.random.PCG64 numpy.random.PCG64DXSM numpy.random.MT19937
    numpy.random.Philox numpy.random.SFC64 numpy.random._generator.default_rng random.Random
    dask.array.random.default_rng dask.array.random.RandomState dask.array.random.Generator
"""
"""Generators that are made with a seed, their first argument; without it the system's randomness seeds them."""

HARMLESS = """
    numpy.random.Generator numpy.random.BitGenerator numpy.random._generator numpy.random.get_state
    numpy.random.set_state numpy.random.mtrand.RandomState random.getstate random.setstate
"""

ENTRIES = {
    "random": """
        uuid.uuid1 uuid.uuid4 uuid.getnode uuid.uuid6 uuid.uuid7 uuid.uuid8 secrets os.urandom os.getrandom
        random.SystemRandom ssl.RAND_bytes
        shortuuid nanoid.generate ulid.new ulid.ULID ksuid faker coolname names.get_full_name
        Crypto.Random Cryptodome.Random cryptography.fernet.Fernet.generate_key bcrypt.gensalt
        cryptography.hazmat.primitives.asymmetric.rsa.generate_private_key
        cryptography.hazmat.primitives.asymmetric.rsa.generate_private_key
        cryptography.hazmat.primitives.asymmetric.ec.generate_private_key
        cryptography.hazmat.primitives.asymmetric.dsa.generate_private_key
        cryptography.hazmat.primitives.asymmetric.dh.generate_parameters
        cryptography.fernet.Fernet.encrypt cryptography.fernet.Fernet.encrypt_at_time
        cryptography.fernet.MultiFernet.encrypt cryptography.fernet.MultiFernet.encrypt_at_time
        cryptography.fernet.MultiFernet.rotate cryptography.x509.random_serial_number
        cryptography.hazmat.primitives.asymmetric.ed25519.Ed25519PrivateKey.generate
        cryptography.hazmat.primitives.asymmetric.ed448.Ed448PrivateKey.generate
        cryptography.hazmat.primitives.asymmetric.x25519.X25519PrivateKey.generate
        cryptography.hazmat.primitives.asymmetric.x448.X448PrivateKey.generate
        nacl.utils.random nacl.secret.SecretBox.encrypt nacl.public.Box.encrypt nacl.public.SealedBox.encrypt
        rsa.newkeys rsa.encrypt ecdsa.SigningKey.generate werkzeug.security.generate_password_hash
        torch.seed torch.random.seed tempfile.mktemp
        tensorflow.random cupy.random dask.array.random dask.bag.random PIL.Image.effect_noise
        PIL.Image.Image.effect_spread email.utils.make_msgid
    """,
}

RANDOM_STATE = {
    "sample": ("random_state", "seed"),
    "train_test_split": ("random_state",),
}
"""Methods and functions that draw from numpy's global generator unless one of these keywords is given."""

OF_FRAMES = {"sample": "seed", "shuffle": "seed", "random_split": "random_state", "random_sample": "random_state"}
"""Methods of frames and series of polars and dask that draw from generators of their own, unless this is given."""

SEEDED_TYPES = ("dask.array.random.",)
FRAMES = ("polars.", "dask.")

KEYWORDS = ("random_state", "seed", "rng", "generator", "prng", "random_generator", "bit_generator")
"""Keywords that take a seed, or a generator, which is advanced then."""

SHUFFLES = ("sklearn.model_selection", "sklearn.utils.shuffle", "sklearn.utils.resample")

_KNOWN_NOT_TO_DRAW = frozenset(
    """
    numpy pandas polars pyarrow scipy sklearn pydantic pydantic_core attr attrs orjson yaml lxml matplotlib PIL torch
    mpl_toolkits dateutil prefect expops_prefect markupsafe jinja2 httpx requests sqlalchemy
    """.split()
)
_OF_PYTHON = frozenset("email mailbox statistics smtplib imaplib".split())


def may_draw(package: str) -> bool:
    """Whether functions of a package may draw from Python's global generator.

    Args:
        package: the first part of its modules' names.
    """
    if package in sys.stdlib_module_names or package in sys.builtin_module_names:
        return package in _OF_PYTHON
    return bool(package) and package not in _KNOWN_NOT_TO_DRAW
