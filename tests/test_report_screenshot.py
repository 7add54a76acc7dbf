"""The pages of projects in headless Chromium, as wide as a laptop and as a phone: nothing is wider than the screen."""

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
LAPTOP, PHONE = 1366, 390
TALL = 900
MEASURE = """
<!doctype html><body><iframe id="page" src="{name}" style="width:{width}px;height:900px;border:0"></iframe><script>
document.getElementById("page").onload = event => {{
  const of = event.target.contentDocument, wide = [...of.querySelectorAll("body *")].filter(
    one => !one.closest(".wide") && one.getBoundingClientRect().right > {width} + 0.5);
  const broken = [...of.images].filter(image => !image.naturalWidth);
  document.title = "done";
  document.body.innerHTML = "<p id='found'>" + [of.documentElement.scrollWidth, of.defaultView.innerWidth,
    wide.length, broken.length, of.images.length].join(" ") + "</p>";
}};
</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium` brings it"),
]


@functools.cache
def chromium(*words):
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files")
    done = subprocess.run([CHROMIUM, *flags, *words], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def pages(c_project, projects, run, tmp_path_factory):
    """The pages of a project in C and of one in RTL, and these with a copy side by side."""
    top = tmp_path_factory.mktemp("pages")
    folders = []
    for name, source in (("c", c_project), ("rtl", projects / "rtl")):
        folders.append(Path(shutil.copytree(source, top / f"project_{name}")))
        assert run("verify", folders[-1]).status == 0
        ended = run("report", folders[-1], "--html", top / f"{name}.html")
        assert ended.status == 0, ended.err
    folders.append(Path(shutil.copytree(folders[-1], top / "project_rtl_again")))
    assert run("compare", *folders, "--html", top / "all.html").status == 0
    return top


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
@pytest.mark.parametrize("name", ["c", "rtl", "all"])
def test_nothing_is_wider_than_the_screen_and_every_picture_is_shown(name, width, pages):
    around = pages / f"measure_{name}_{width}.html"
    around.write_text(MEASURE.format(name=f"{name}.html", width=width))
    text = chromium(f"--window-size={LAPTOP + 100},{TALL}", "--virtual-time-budget=5000", "--dump-dom", around.as_uri())
    scroll, inner, wide, broken, images = map(int, text.partition('id="found">')[2].partition("<")[0].split())
    assert inner == width and scroll <= inner and wide == 0 and broken == 0 and images > 0


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_a_screenshot_shows_the_verdict_and_a_printed_page_has_pages(width, pages, tmp_path):
    from matplotlib.image import imread

    page = (pages / "rtl.html").as_uri()
    chromium(f"--window-size={width},{TALL}", f"--screenshot={tmp_path / 'page.png'}", page)
    pixels = imread(tmp_path / "page.png")[..., :3]
    assert pixels.shape[1] == width and len({tuple(pixel) for pixel in pixels[::7, ::7].reshape(-1, 3)}) > 8
    chromium(f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer", page)
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
