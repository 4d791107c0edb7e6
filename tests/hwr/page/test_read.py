"""ALTO and PAGE files, and the pictures beside them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carousel.common.domain import read_data
from carousel.common.errors import InputError
from carousel.hwr.domain import IMAGE, INK
from carousel.hwr.page.read import open_page, read_page
from tests.conftest import corpus

ALTO = """<?xml version="1.0"?><alto xmlns="http://www.loc.gov/standards/alto/ns-v{version}#">
<Description><MeasurementUnit>pixel</MeasurementUnit><sourceImageInformation><fileName>{name}</fileName>
</sourceImageInformation></Description>{order}<Layout><Page WIDTH="1000" HEIGHT="500">
<PrintSpace>{blocks}</PrintSpace></Page></Layout></alto>"""
PAGE = """<?xml version="1.0"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}"><Metadata/>
<Page imageFilename="{name}" imageWidth="1000" imageHeight="500">{body}</Page></PcGts>"""


def alto(blocks: str, version: int = 4, name: str = "a.jpg", order: str = "") -> bytes:
    return ALTO.format(blocks=blocks, version=version, name=name, order=order).encode()


def page(body: str, version: str = "2019-07-15", name: str = "a.jpg") -> bytes:
    return PAGE.format(body=body, version=version, name=name).encode()


def region(name: str, *lines: str) -> str:
    return f'<TextRegion id="{name}"><Coords points="0,0 9,0 9,9"/>{"".join(lines)}</TextRegion>'


def page_line(name: str, text: str, more: str = 'points="10,20 90,20 90,40 10,40"') -> str:
    equiv = f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv>"
    return f'<TextLine id="{name}"><Coords {more}/><Baseline points="10,35 90,36"/>{equiv}</TextLine>'


def texts(data: bytes) -> list[str | None]:
    return [line.text for line in read_page(data).lines]


def test_alto_4_has_curved_baselines_polygons_and_strings():
    line = (
        '<TextBlock><TextLine ID="l" BASELINE="10,30 50 31 90,33" HPOS="5" VPOS="10" WIDTH="90" HEIGHT="30">'
        '<Shape><Polygon POINTS="5,10 95,10 95,40 5,40"/></Shape>'
        '<String CONTENT="de\u0301j\u00e0"/><SP/><String CONTENT="vu"/><HYP CONTENT="\u00ad"/>'
        "</TextLine></TextBlock>"
    )
    (found,) = read_page(alto(line)).lines
    assert (found.text, found.id) == ("déjà vu-", "l")
    np.testing.assert_array_equal(found.baseline, [[10, 30], [50, 31], [90, 33]])
    np.testing.assert_array_equal(found.polygon, [[5, 10], [95, 10], [95, 40], [5, 40]])


@pytest.mark.parametrize("version", [2, 3])
def test_older_alto_has_boxes_and_a_number_for_the_baseline(version):
    box = 'HPOS="5" VPOS="10" WIDTH="90" HEIGHT="40"'
    both = f'<TextLine ID="a" BASELINE="42" {box}><String CONTENT="un"/><String CONTENT="deux"/></TextLine>'
    none = f'<TextLine ID="b" {box}><String CONTENT="x"/></TextLine>'
    first, second = read_page(alto(f"<TextBlock>{both}{none}</TextBlock>", version)).lines
    assert first.text == "un deux"
    np.testing.assert_array_equal(first.baseline, [[5, 42], [95, 42]])
    np.testing.assert_array_equal(first.polygon, [[5, 10], [95, 10], [95, 50], [5, 50]])
    np.testing.assert_allclose(second.baseline, [[5, 40], [95, 40]])  # a quarter of the height is below


def test_alto_can_tell_the_reading_order():
    def block(name: str) -> str:
        line = f'<TextLine HPOS="1" VPOS="1" WIDTH="9" HEIGHT="9"><String CONTENT="{name}"/></TextLine>'
        return f'<TextBlock ID="{name}">{line}</TextBlock>'

    refs = "".join(f'<ElementRef ID="r{k}" REF="{name}"/>' for k, name in enumerate("cab"))
    order = f'<ReadingOrder><OrderedGroup ID="g">{refs}</OrderedGroup></ReadingOrder>'
    assert texts(alto("".join(map(block, "abc")), order=order)) == ["c", "a", "b"]


@pytest.mark.parametrize("version", ["2013-07-15", "2017-07-15", "2019-07-15"])
def test_page_is_read_in_its_reading_order(version):
    order = (
        '<ReadingOrder><OrderedGroup id="g"><RegionRefIndexed index="2" regionRef="a"/>'
        '<OrderedGroupIndexed id="h" index="1"><RegionRefIndexed index="1" regionRef="c"/>'
        '<RegionRefIndexed index="0" regionRef="d"/></OrderedGroupIndexed></OrderedGroup></ReadingOrder>'
    )
    regions = "".join(
        region(name, page_line(name + "1", name), page_line(name + "2", name * 2)) for name in "abcd"
    )
    assert texts(page(order + regions, version)) == ["d", "dd", "c", "cc", "a", "aa", "b", "bb"]
    assert texts(page(regions, version)) == ["a", "aa", "b", "bb", "c", "cc", "d", "dd"]


def test_page_takes_the_first_reading_and_else_the_words():
    two = "".join(
        f'<TextEquiv index="{k}"><Unicode>{word}</Unicode></TextEquiv>' for k, word in ((1, "no"), (0, "yes"))
    )
    words = "".join(f"<Word><TextEquiv><Unicode>{w}</Unicode></TextEquiv></Word>" for w in ("a", "b"))
    shape = '<Coords points="1,1 9,1 9,9"/>'
    lines = [f"<TextLine>{shape}{inner}</TextLine>" for inner in (two, words, "")]
    assert texts(page(region("r", *lines))) == ["yes", "a b", None]


def test_a_line_with_only_a_baseline_gets_a_polygon_by_the_distance_of_lines():
    lines = [
        f'<TextLine id="l{y}"><Coords points=""/><Baseline points="10,{y} 500,{y}"/></TextLine>'
        for y in (40, 80, 120)
    ]
    found = read_page(page(region("r", *lines))).lines
    assert [line.box for line in found] == [(10, y - 30, 500, y + 10) for y in (40, 80, 120)]


def test_a_slanted_polygon_gets_a_slanted_baseline():
    coords = 'points="0,0 200,20 200,60 0,40"'
    line = page_line("l", "x", coords).replace('<Baseline points="10,35 90,36"/>', "")
    (found,) = read_page(page(region("r", line))).lines
    np.testing.assert_allclose(found.baseline, [[0, 30], [200, 50]], atol=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("L", (500, 250), 255).save(tmp_path / "scan.png")
    return tmp_path


@pytest.mark.parametrize(
    ("xml", "name"),
    [
        ("a.xml", "scan.png"), ("a.xml", "scan.jpg"), ("a.xml", "C:\\scans\\scan.tif"),
        ("a.xml", "/no/scan.png"), ("scan.xml", "other.jpg"), ("scan.xml", ""),
        ("page/scan.xml", "scan.jpg"), ("page/a.xml", "scan.png"),
    ],
)  # fmt: skip
def test_the_picture_is_found_and_coordinates_are_scaled_to_it(folder: Path, xml: str, name: str):
    file = folder / xml
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(page(region("r", page_line("l", "x")), name=name))
    found, picture = open_page(file)
    assert picture.resolve() == (folder / "scan.png").resolve()
    assert (found.width, found.height) == (500, 250)
    np.testing.assert_allclose(found.lines[0].polygon, [[5, 10], [45, 10], [45, 20], [5, 20]])


def test_lines_with_texts_are_samples(folder: Path):
    (folder / "scan.xml").write_bytes(page(region("r", page_line("l", "x"), page_line("m", ""))))
    _, found = read_data(folder / "scan.xml", (IMAGE, INK))
    (sample,) = found.samples("scan.xml")
    assert (sample.text, sample.image, sample.of_page) == ("x", folder / "scan.png", True)
    assert sample.extra["line"] == "l" and sample.extra["page"] == "scan"


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><alto>&c;</alto>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (BOMB.encode(), "document type"),
        (b"<alto><Layout>", "not well-formed"),
        (b"<html/>", "root is 'html'"),
        (b"<alto/>", "holds 0 pages"),
        (b"<alto><Page/><Page/></alto>", "holds 2 pages"),
        (page(region("r", page_line("l", "x", 'points="1,2 3"'))), "not pairs of numbers"),
        (page(region("r", page_line("l", "x", 'points="1,2 nan,3"'))), "not pairs of numbers"),
        (page("").replace(b'"1000"', b'"wide"'), "'wide', not a number"),
        (b"", "is empty"),
    ],
)  # fmt: skip
def test_broken_files_are_told_in_one_sentence(data: bytes, said: str, tmp_path: Path):
    file = tmp_path / "a.xml"
    file.write_bytes(data)
    with pytest.raises(InputError, match=said) as error:
        read_page(file)
    assert str(error.value).count(str(file)) == 1 and "\n" not in str(error.value)


def test_a_picture_that_is_not_there_or_of_another_shape_is_told(folder: Path):
    file = folder / "a.xml"
    file.write_bytes(page(region("r", page_line("l", "x")), name="b.png"))
    with pytest.raises(InputError, match=r"b\.png is not beside it"):
        open_page(file)
    Image.new("L", (400, 400)).save(folder / "b.png")
    with pytest.raises(InputError, match="another shape"):
        open_page(file)


def test_the_pages_of_copiste_are_read():
    files = sorted((corpus("copiste-pages") / "test").glob("*.xml"))[:4]
    for file in files:
        found, picture = open_page(file)
        assert picture.suffix == ".webp" and len(found.lines) > 10
        boxes = np.array([line.box for line in found.lines])
        assert boxes.min() >= 0 and (boxes[:, 2] <= found.width).all() and (boxes[:, 3] <= found.height).all()
