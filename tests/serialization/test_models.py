from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from expops_prefect.errors import IntegrityError
from expops_prefect.serialization.manifest import pack, unpack
from expops_prefect.serialization.references import MODEL_MARKER
from tests.serialization.readers import FromFiles, FromMemory, suffixes


class TestModels:
    X = np.random.default_rng(0).random((300, 2))

    def test_large_models_are_files_that_joblib_loads(self, tmp_path: Path) -> None:
        model = KNeighborsRegressor().fit(self.X, self.X[:, 0])
        packed = pack({"model": model}, spill_bytes=1024)
        assert suffixes(packed) == [".joblib"]
        assert pickle.loads(packed.manifest)["model"][MODEL_MARKER] is True
        reader = FromFiles(tmp_path)
        loaded: Any = unpack(reader.store(packed), reader)
        assert reader.read_whole == [".joblib"]
        (file,) = (tmp_path / "cache/model_spill").rglob("*.joblib")
        for other in (loaded["model"], joblib.load(file)):
            assert type(other) is KNeighborsRegressor
            np.testing.assert_array_equal(other.predict(self.X), model.predict(self.X))

    def test_small_models_stay(self) -> None:
        model = LinearRegression().fit(self.X, self.X[:, 0])
        packed = pack([model])
        assert packed.payloads == ()
        np.testing.assert_array_equal(pickle.loads(packed.manifest)[0].coef_, model.coef_)

    def test_models_with_functions_of_no_module(self) -> None:
        model = make_pipeline(FunctionTransformer(lambda x: x * 2), KNeighborsRegressor()).fit(self.X, self.X[:, 0])
        packed = pack(model, spill_bytes=1024)
        assert suffixes(packed) == [".joblib"]
        loaded: Any = unpack(packed.manifest, FromMemory(packed))
        np.testing.assert_array_equal(loaded.predict(self.X), model.predict(self.X))

    def test_damaged_models_are_not_unpickled(self, tmp_path: Path) -> None:
        reader = FromFiles(tmp_path)
        manifest = reader.store(pack(KNeighborsRegressor().fit(self.X, self.X[:, 0]), spill_bytes=1024))
        (file,) = tmp_path.rglob("*.joblib")
        content = bytearray(file.read_bytes())
        content[100] ^= 1
        file.chmod(0o644)
        file.write_bytes(content)
        with pytest.raises(IntegrityError):
            unpack(manifest, reader)
