from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from reelspace.encoders.pca import Pca, fit_pca, load_pca, read_t7, save_pca
from reelspace.errors import FormatError, InvalidArgument


def cloud(count: int = 400, size: int = 24) -> np.ndarray:
    """Correlated numbers far from zero, float32 (count, size)."""
    random = np.random.default_rng(0)
    return (5 + random.normal(size=(count, size)) @ random.normal(size=(size, size))).astype(np.float32)


def up_to_sign(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Our rows, turned to where theirs point."""
    return ours * np.sign((ours * theirs).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("kept", [None, 6])
def test_whitened_vectors_are_scikit_learn_s_up_to_sign(kept: int | None) -> None:
    vectors = cloud()
    pca = fit_pca(vectors, dimensions=kept)
    expected = PCA(kept, whiten=True, svd_solver="full").fit_transform(vectors.astype(np.float64))
    np.testing.assert_allclose(up_to_sign(pca(vectors).T, expected.T), expected.T, atol=1e-4)


def test_whitened_vectors_are_uncorrelated_and_of_variance_one() -> None:
    whitened = fit_pca(cloud())(cloud())
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(24), atol=1e-4)


@pytest.mark.parametrize("block", [1, 7, 399])
def test_a_stream_fits_as_the_whole_does(block: int) -> None:
    vectors = cloud()
    whole = fit_pca(vectors)
    streamed = fit_pca(vectors[start : start + block] for start in range(0, len(vectors), block))
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(up_to_sign(streamed.projection, whole.projection), whole.projection, atol=1e-5)


def test_the_fit_is_videoalignment_s_but_for_the_count(shared: Path) -> None:
    with np.load(shared / "golden" / "rmac_pool.npz") as golden:
        vectors, mean, projection = (golden[name] for name in ("pca_train0", "pca_mean0", "pca_DVt0"))
    pca = fit_pca(vectors)
    expected = projection * np.sqrt(len(vectors) - 1)
    np.testing.assert_allclose(pca.mean, mean.reshape(-1), atol=1e-6)
    np.testing.assert_allclose(up_to_sign(pca.projection, expected), expected, atol=1e-4 * np.abs(expected).max())


def test_directions_in_which_nothing_varies_stay_finite() -> None:
    vectors = cloud()
    vectors[:, -1] = vectors[:, 0]
    assert np.isfinite(fit_pca(vectors).projection).all()


@pytest.mark.parametrize(("count", "kept"), [(24, None), (6, 6), (400, 25), (400, 0)])
def test_too_few_vectors_are_refused(count: int, kept: int | None) -> None:
    with pytest.raises(InvalidArgument, match=f"{count} vectors of 24 numbers"):
        fit_pca(cloud(count), dimensions=kept)


def test_no_vectors_at_all_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="0 vectors"):
        fit_pca(iter(()))


def test_blocks_of_unlike_lengths_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="24 and 23"):
        fit_pca([cloud(), cloud()[:, 1:]])


# ── files ──


@pytest.mark.parametrize("name", ["pca.npz", "pca.safetensors"])
def test_what_is_saved_is_loaded(name: str, tmp_path: Path) -> None:
    pca = fit_pca(cloud(), dimensions=6)
    save_pca(pca, tmp_path / name)
    loaded = load_pca(tmp_path / name)
    np.testing.assert_array_equal(loaded.mean, pca.mean)
    np.testing.assert_array_equal(loaded.projection, pca.projection)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"\.npz or \.safetensors"):
        save_pca(fit_pca(cloud()), tmp_path / "pca.pkl")


MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4) / 8


def by_pytorch(*, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(torch.from_numpy(MATRIX), file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def by_torch7(array: np.ndarray = MATRIX, *, kind: str = "Float", version: bool = True) -> bytes:
    """What Lua's ``torch.save(path, tensor, 'binary')`` writes; fortran order is a transposed view there."""

    def text(value: str) -> bytes:
        return struct.pack("<i", len(value)) + value.encode()

    def entered(index: int, name: str) -> bytes:
        return struct.pack("<ii", 4, index) + (text("V 1") if version else b"") + text(f"torch.{kind}{name}")

    strides = [stride // array.itemsize for stride in array.strides]
    numbers = array.ravel(order="K")
    return (
        entered(1, "Tensor")
        + struct.pack("<i", array.ndim)
        + struct.pack(f"<{2 * array.ndim}q", *array.shape, *strides)
        + struct.pack("<q", 1)
        + entered(2, "Storage")
        + struct.pack("<q", numbers.size)
        + numbers.tobytes()
    )


FORMS = {
    "zip": (b"PK", by_pytorch(zipped=True)),
    "legacy": (bytes.fromhex("80028a0a6cfc9c46"), by_pytorch(zipped=False)),
    "torch7": (b"\x04\0\0\0", by_torch7()),
    "torch7 doubles": (b"\x04\0\0\0", by_torch7(MATRIX.astype(np.float64), kind="Double")),
    "torch7 transposed": (b"\x04\0\0\0", by_torch7(np.asfortranarray(MATRIX))),
    "torch7 without a version": (b"\x04\0\0\0", by_torch7(version=False)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_t7_is_told_by_its_first_bytes(form: str) -> None:
    begin, data = FORMS[form]
    assert data.startswith(begin)
    found = read_t7(data)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, MATRIX)


class Stranger:
    """Something that only unpickling would bring in."""


def pickled_stranger() -> bytes:
    file = io.BytesIO()
    torch.save(Stranger(), file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def pickled_words() -> bytes:
    file = io.BytesIO()
    torch.save({"mean": 1}, file)
    return file.getvalue()


BROKEN = {
    "begins with 89 48 44 46": b"\x89HDF\r\n\x1a\n",
    "begins with": b"",
    "cannot be read": pickled_stranger(),
    "holds dict, not a tensor": pickled_words(),
    "ends early": by_torch7()[:-1],
    "only tensors of floats and doubles": by_torch7(kind="Long"),
    "over 11 numbers": by_torch7().replace(struct.pack("<q", 12), struct.pack("<q", 11)),
    "reaches beyond": by_torch7().replace(struct.pack("<qqq", 4, 1, 1), struct.pack("<qqq", 4, 1, 2)),
}


@pytest.mark.parametrize("words", BROKEN)
def test_other_files_are_refused_with_their_name(words: str) -> None:
    with pytest.raises(FormatError, match=words) as refused:
        read_t7(BROKEN[words], name="x_Dvt_resnet34_29.t7")
    assert "x_Dvt_resnet34_29.t7" in str(refused.value)


def test_a_cut_file_of_pytorch_is_refused() -> None:
    for zipped in (True, False):
        with pytest.raises(FormatError, match="cannot be read"):
            read_t7(by_pytorch(zipped=zipped)[:100])


@pytest.mark.parametrize("infix", ["", "pca_"])
@pytest.mark.parametrize("folder", ["", "yfcc100m/"])
def test_the_published_zip_is_read_by_either_of_its_names(infix: str, folder: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pca.zip", "w") as archive:
        archive.writestr("__MACOSX/._yfcc_mean_resnet34_29.t7", b"resource fork")
        archive.writestr(f"{folder}yfcc_{infix}Dvt_resnet34_29.t7", by_torch7())
        archive.writestr(f"{folder}yfcc_{infix}mean_resnet34_29.t7", by_torch7(MATRIX[:1]))
    pca = load_pca(tmp_path / "pca.zip")
    np.testing.assert_array_equal(pca.mean, MATRIX[0])
    np.testing.assert_array_equal(pca.projection, MATRIX)


def test_an_incomplete_or_foreign_file_is_no_pca(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pca.zip", "w") as archive:
        archive.writestr("yfcc_Dvt_resnet34_29.t7", by_torch7())
    with pytest.raises(FormatError, match=r"holds \['projection'\]"):
        load_pca(tmp_path / "pca.zip")
    (tmp_path / "pca.safetensors").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="not a safetensors file"):
        load_pca(tmp_path / "pca.safetensors")
    (tmp_path / "pca.npz").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="is no PCA"):
        load_pca(tmp_path / "pca.npz")


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "pca.npz", mean=np.array([Stranger()], dtype=object), projection=MATRIX)
    with pytest.raises(FormatError, match=r"not an \.npz file of numbers"):
        load_pca(tmp_path / "pca.npz")


def test_a_mean_of_another_length_is_refused() -> None:
    with pytest.raises(FormatError, match=r"\(3,\) and \(5, 4\)"):
        Pca(np.zeros(3, np.float32), np.zeros((5, 4), np.float32))
