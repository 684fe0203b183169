"""What surrounds the code: the wheel, the file map, the version, the licences, and what must never be committed."""

import re
import subprocess
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import command_line
import showtell

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "showtell"
POCKET = SOURCE / "assets" / "pocket"

pytestmark = pytest.mark.skipif(not (REPOSITORY / "pyproject.toml").is_file(), reason="needs the repository")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


@pytest.fixture(scope="module")
def package_files():
    """Files of the package as they lie in the tree, relative to it."""
    return {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def repository_files():
    """Every file that is committed or would be: tracked, or new and not ignored."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as `pip install` gets it, built without a network."""
    builder = pytest.importorskip("hatchling.builders.wheel", reason="needs hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    built = next(builder.WheelBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel, package_files):
    shipped = {name.removeprefix("showtell/") for name in wheel if name.startswith("showtell/")}
    assert shipped == package_files
    assert {"py.typed", "recipes/pocket.toml", "recipes/shapes.toml"} <= shipped
    assert all(name.startswith(("showtell/", f"showtell-{showtell.__version__}.dist-info/")) for name in wheel)


def test_wheel_carries_all_licences_and_the_command(wheel):
    information = f"showtell-{showtell.__version__}.dist-info"
    for name in ("LICENSE", "NOTICE", "src/showtell/assets/pocket/LICENSE.txt"):
        assert wheel[f"{information}/licenses/{name}"] == (REPOSITORY / name).read_bytes()
    about = wheel[f"{information}/METADATA"].decode()
    assert f"Version: {showtell.__version__}\n" in about
    assert "License-Expression: Apache-2.0 AND LicenseRef-showtell-pocket\n" in about
    assert "showtell = showtell.cli:main" in wheel[f"{information}/entry_points.txt"].decode()


def test_core_installs_light(project):
    names = {re.match(r"[a-z-]+", line)[0] for line in project["dependencies"]}
    assert names == {"click", "numpy", "onnxruntime", "pillow", "tqdm"}


def test_version_stands_in_one_place(project):
    assert "version" in project["dynamic"]
    assert "version" not in project
    assert f"\n## [{showtell.__version__}]" in read("CHANGELOG.md")
    places = [path for path in SOURCE.rglob("*.py") if re.search(r"^__version__ = ", path.read_text(), re.MULTILINE)]
    assert places == [SOURCE / "__init__.py"]


def test_installed_version_is_that_of_the_source():
    assert metadata.version("showtell") == showtell.__version__


def test_every_public_name_exists():
    assert sorted(showtell.__all__) == showtell.__all__
    assert set(showtell.__all__) == set(showtell._PUBLIC)
    for name in showtell.__all__:
        assert getattr(showtell, name).__name__ == name


def test_file_map_of_the_readme_is_true(package_files):
    block = re.search(r"^## File map\n.*?^```text\n(.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)
    lines = [line.split(maxsplit=1) for line in block[1].splitlines()]
    assert all(len(line) == 2 for line in lines), "each line holds a file and what it is"
    told = [name for name, _ in lines]
    assert len(told) == len(set(told))
    folders = tuple(name for name in told if name.endswith("/"))
    assert all((SOURCE / folder).is_dir() for folder in folders)
    there = {name for name in package_files if not name.startswith(folders)}
    listed = set(told) - set(folders)
    assert listed == there, f"not in the map: {sorted(there - listed)}; not there: {sorted(listed - there)}"


def test_readme_shows_what_the_demo_says():
    skimage = pytest.importorskip("skimage", reason="needs scikit-image, whose photos the demo captions")
    block = re.search(r"^astronaut\.png\t.*?(?=\n\n)", read("README.md"), re.MULTILINE | re.DOTALL)
    assert block, "README.md shows no captions of the demo"
    shown = block[0].splitlines()
    named = re.search(r"^PHOTOS := (.+)$", read("Makefile"), re.MULTILINE)
    assert [line.partition("\t")[0] for line in shown] == named[1].split()
    photos = Path(skimage.__file__).parent / "data"
    done = command_line.showtell("caption", "--sentence", *(photos / line.partition("\t")[0] for line in shown))
    said = [line.removeprefix(f"{photos}/") for line in done.out.splitlines()]
    # Another processor rounds otherwise, which may change a caption.
    assert len(set(shown) & set(said)) >= len(shown) - 1, said


def test_links_of_the_documents_lead_somewhere(repository_files):
    for document in [path for path in repository_files if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            found = document.parent / path if path else document
            assert found.exists(), f"{document.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in anchors, f"{document.name}: {target}"


def test_guide_tells_every_key_of_a_recipe_with_its_default():
    import dataclasses

    from showtell.architectures import DECODERS
    from showtell.decoding.options import DecodeOptions
    from showtell.recipe import EncoderOptions, TrainingOptions, VocabularyOptions

    tables = {
        "[encoder]": EncoderOptions,
        **{f"[decoder] of {name}": options for name, options in DECODERS.items()},
        "[vocabulary]": VocabularyOptions,
        "[training]": TrainingOptions,
        "[decoding]": DecodeOptions,
    }
    guide = read("docs/guide.md")
    for table, options in tables.items():
        section = re.search(rf"^### {re.escape(table)}\n(.*?)(?=^##|\Z)", guide, re.MULTILINE | re.DOTALL)
        told = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", section[1], re.MULTILINE))
        fields = {field.name: field for field in dataclasses.fields(options)}
        assert list(told) == list(fields), f"{table} of the guide"
        for name, field in fields.items():
            if told[name] == "required":
                assert field.default is field.default_factory is dataclasses.MISSING
            else:
                value = tomllib.loads(f"value = {told[name]}")["value"]
                default = field.default_factory() if field.default is dataclasses.MISSING else field.default
                assert value == default, f"{table}.{name}"


def test_no_machine_path_is_committed(repository_files):
    # In pieces, so that this file does not hold what it looks for.
    names = {"/" + "work/", "/" + "root/", f"{Path.home()}/", f"{REPOSITORY}/"} - {"//"}
    machine = re.compile("|".join(map(re.escape, names)).encode())
    found = [path.name for path in repository_files if machine.search(path.read_bytes())]
    assert found == []


def test_no_picture_is_committed(repository_files):
    signatures = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
    found = [path.name for path in repository_files if path.read_bytes()[:16].startswith(signatures)]
    assert found == []


def test_licences_are_in_place(project):
    assert "Apache License" in read("LICENSE")
    assert "Version 2.0, January 2004" in read("LICENSE")
    notice = read("NOTICE")
    assert "MobileNetV2" in notice
    assert "Google" in notice
    assert "changed" in notice
    pocket = " ".join((POCKET / "LICENSE.txt").read_text(encoding="utf-8").split())
    assert pocket.startswith("LicenseRef-showtell-pocket ")
    for said in ("non-commercial research and education", "rights to", "unsettled", "Flickr8k", "MobileNetV2"):
        assert said in pocket
    assert project["license-files"] == ["LICENSE", "NOTICE", "src/showtell/assets/pocket/LICENSE.txt"]


def test_embedded_model_is_small_and_whole():
    from showtell.bundle import read_bundle

    if not (POCKET / "manifest.json").is_file():
        pytest.skip("no embedded model in this tree")
    bundle = read_bundle(POCKET)
    assert sum(path.stat().st_size for path in POCKET.iterdir()) <= 20e6
    assert "LicenseRef-showtell-pocket" in bundle.manifest.licence
