"""The published weights files: names, addresses, checksums and what is in them, as a table.

The layout of a file is its list of names and shapes; its hash tells the sizes and versions apart and a complete file
from another one before a network is built. The checksums are those of the files at the addresses, as several public
projects that pin them agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from model.errors import CheckpointError

__all__ = ["OFFICIAL_FILES", "OfficialFile", "layout_hash", "official_by_layout", "official_file"]

_HOST = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialFile:
    """One weights file as its authors publish it."""

    name: str  # what people call it: the file's name without ending
    family: str  # "SAM 1", "SAM 2.0" or "SAM 2.1"
    size: str  # row of `model.config.SIZES`, or of SAM 1's sizes
    url: str
    sha256: str = ""  # of the whole file; empty when unknown
    byte_count: int | None = None  # of the whole file; None when unknown
    layout: str = ""  # `layout_hash` of its state dict; empty when unknown
    key_count: int = 0  # entries of its state dict
    parameter_count: int = 0  # numbers that are learned

    @property
    def filename(self) -> str:
        """The file's name as published."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def version(self) -> str:
        """Number after "SAM "; for SAM 2 the version of the network."""
        return self.family.removeprefix("SAM ")


def layout_hash(shapes: Mapping[str, Sequence[int]]) -> str:
    """Return the SHA-256 in hexadecimal of names and shapes: lines `name 1x2x3`, sorted by name."""
    lines = [f"{name} {'x'.join(map(str, shapes[name]))}" for name in sorted(shapes)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def official_file(name: str) -> OfficialFile:
    """Return the row called `name` (with or without ending); CheckpointError naming the nearest when there is none."""
    plain = name.removesuffix(".pt").removesuffix(".pth")
    if plain in OFFICIAL_FILES:
        return OFFICIAL_FILES[plain]
    near = get_close_matches(plain, OFFICIAL_FILES, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise CheckpointError(f"there is no published file {name!r}{hint} (known: {', '.join(OFFICIAL_FILES)})")


def official_by_layout(layout: str) -> OfficialFile | None:
    """Return the published file of that `layout_hash`; None when it is none's."""
    return next((row for row in OFFICIAL_FILES.values() if layout and row.layout == layout), None)


def _sam2(
    family: str, size: str, keys: int, parameters: int, layout: str, sha256: str, byte_count: int | None
) -> OfficialFile:
    prefix, release = ("sam2.1_hiera_", "092824") if family == "SAM 2.1" else ("sam2_hiera_", "072824")
    return OfficialFile(
        name=f"{prefix}{size}",
        family=family,
        size=size,
        url=f"{_HOST}/segment_anything_2/{release}/{prefix}{size}.pt",
        sha256=sha256,
        byte_count=byte_count,
        layout=layout,
        key_count=keys,
        parameter_count=parameters,
    )


def _sam1(
    size: str, suffix: str, keys: int, parameters: int, layout: str, sha256: str, byte_count: int
) -> OfficialFile:
    name = f"sam_{size}_{suffix}"  # the suffix is the beginning of the file's MD5
    return OfficialFile(
        name=name,
        family="SAM 1",
        size=size,
        url=f"{_HOST}/segment_anything/{name}.pth",
        sha256=sha256,
        byte_count=byte_count,
        layout=layout,
        key_count=keys,
        parameter_count=parameters,
    )


_ROWS = (
    _sam2(
        "SAM 2.1",
        "tiny",
        471,
        38_962_498,
        "5a31f53548be1d302b6676cd6f9023a0673a98c87a7da656025d0ba4dbb85693",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156_008_466,
    ),
    _sam2(
        "SAM 2.1",
        "small",
        519,
        46_060_354,
        "30f7030432d1687ed663f3af622cffa176ea66b099af2a801c326ce4cd821a96",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184_416_285,
    ),
    _sam2(
        "SAM 2.1",
        "base_plus",
        615,
        80_850_178,
        "cf1e236598a9fe861ef07265b59bda770809a8db7f5b0620a2ffe9ab38328a37",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        323_606_802,
    ),
    _sam2(
        "SAM 2.1",
        "large",
        903,
        224_446_642,
        "b38bb6c453cb2b40ecb2a6f62046638d9cf30e9124bef55eae47a37a4eb636eb",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898_083_611,
    ),
    _sam2(
        "SAM 2.0",
        "tiny",
        468,
        38_945_986,
        "8f656ac26e870b4134e0bfc8eacb2b7a826fb920fef1f48f267a23843a6c563c",
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        155_906_050,
    ),
    _sam2(
        "SAM 2.0",
        "small",
        516,
        46_043_842,
        "7e5f9d3d6099de9e86d65a46b45e0ecb0bef2bd827f286ecd48c2fe0737f6172",
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        184_309_650,
    ),
    _sam2(
        "SAM 2.0",
        "base_plus",
        612,
        80_833_666,
        "0da3ee56516065b3f67621df5a1bd5f6377263c845e2d963df211affefe31d70",
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        None,
    ),
    _sam2(
        "SAM 2.0",
        "large",
        900,
        224_430_130,
        "11c4512af4a0183a874baf5d0f9973105237f96f4f6376b55bcb53f17ec3bb91",
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        897_952_466,
    ),
    _sam1(
        "vit_b",
        "01ec64",
        314,
        93_735_472,
        "86641a8f7847026c348e244c8b41292e85379ae0afd46270cf8c00be56395627",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
    ),
    _sam1(
        "vit_l",
        "0b3195",
        482,
        312_342_832,
        "2782f23acee93d56889efe56a054c2552cf96c4dde5c1b4e99f620171d11cddc",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
    ),
    _sam1(
        "vit_h",
        "4b8939",
        594,
        641_090_608,
        "266c2bcda1f0a23b2632dcaf8a9bed3d40e5b9c9a064d677c86506d1bfe57f7f",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
    ),
)

OFFICIAL_FILES: Mapping[str, OfficialFile] = MappingProxyType({row.name: row for row in _ROWS})
