"""Each layout of pictures and of ink, on files made as it is published."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carousel.common.data.layouts import Found
from carousel.common.domain import read_data
from carousel.common.errors import InputError
from carousel.hwr.domain import IMAGE, INK
from tests.common.data.layouts.test_found import write
from tests.conftest import corpus


def picture(path: Path, width: int = 60, height: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height), 255).save(path)
    return path


def written(folder: Path) -> Found:
    return read_data(folder, (IMAGE, INK))[1]


def told(found: Found, *keys: str) -> list[tuple]:
    return [tuple(row.get(key) for key in ("text", *keys)) for row in found.rows]


def test_pictures_with_texts_beside_them(tmp_path):
    picture(tmp_path / "a" / "p1_r1_l1.png")
    write(tmp_path / "a" / "p1_r1_l1.gt.txt", "première")
    picture(tmp_path / "a" / "p1_r1_l2.nrm.png")
    write(tmp_path / "a" / "p1_r1_l2.gt.txt", "seconde")
    picture(tmp_path / "b.jpg")
    write(tmp_path / "b.txt", "troisième\n")
    write(tmp_path / "c.gt.txt", "lost")
    picture(tmp_path / "page.png", 90, 90)
    write(tmp_path / "page.txt", "a page\nof lines\n")
    found = written(tmp_path)
    assert found.layout == "texts beside files"
    assert sorted(told(found, "page")) == [
        ("première", "a/p1_r1"),
        ("seconde", "a/p1_r1"),
        ("troisième", "b"),
    ]
    assert found.left_out == [
        ("c.gt.txt", "text without a file beside it"),
        ("page.txt", "text of several lines, where a picture is one"),
    ]


def test_image_folder(tmp_path):
    picture(tmp_path / "train" / "0001.png")
    write(tmp_path / "train" / "metadata.jsonl", json.dumps({"file_name": "0001.png", "text": "ad libitum"}))
    assert told(written(tmp_path), "split") == [("ad libitum", "train")]


PAGE = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
  <Metadata><Creator>x</Creator></Metadata>
  <Page imageFilename="scan.png" imageWidth="200" imageHeight="100">
    <TextRegion id="r1"><Coords points="0,0 200,0 200,100 0,100"/>
      <TextLine id="l1">
        <Coords points="10,10 190,10 190,40 10,40"/><Baseline points="10,35 190,36"/>
        <Word id="w"><Coords points="1,1 2,2 3,3"/><TextEquiv><Unicode>wrong</Unicode></TextEquiv></Word>
        <TextEquiv index="1"><Unicode>a worse reading</Unicode></TextEquiv>
        <TextEquiv index="0"><Unicode>À la ligne</Unicode></TextEquiv>
      </TextLine>
      <TextLine id="l2"><Coords points="10,50 190,50 190,90 10,90"/></TextLine>
      <TextEquiv><Unicode>of the region</Unicode></TextEquiv>
    </TextRegion>
  </Page>
</PcGts>
"""


@pytest.mark.parametrize(("xml", "scan"), [("scan.xml", "scan.png"), ("page/0001.xml", "scan.png")])
def test_page_xml(tmp_path, xml, scan):
    picture(tmp_path / scan, 100, 50)  # half the size that the XML speaks of
    write(tmp_path / xml, PAGE)
    found = written(tmp_path)
    assert found.layout == "PAGE or ALTO" and told(found, "line") == [("À la ligne", "l1")]
    assert found.rows[0]["polygon"] == [[5, 5], [95, 5], [95, 20], [5, 20]]
    assert found.rows[0]["baseline"] == [[5, 17.5], [95, 18]]
    assert [reason for _, reason in found.left_out] == ["empty text"]
    (tmp_path / scan).unlink()
    with pytest.raises(InputError, match=r"its picture scan\.png is not beside it"):
        written(tmp_path)


ALTO = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
  <Description><MeasurementUnit>mm10</MeasurementUnit>
    <sourceImageInformation><fileName>scan.tif</fileName></sourceImageInformation></Description>
  <Layout><Page ID="p" WIDTH="2000" HEIGHT="1000"><PrintSpace><TextBlock ID="b">
    <TextLine ID="l1" BASELINE="350" HPOS="100" VPOS="100" WIDTH="1800" HEIGHT="300">
      <String CONTENT="ad"/><SP/><String CONTENT="libi"/><HYP CONTENT="&#xAD;"/></TextLine>
    <TextLine ID="l2" BASELINE="100 600 1900 610"><Shape><Polygon POINTS="100,500 1900,500 1900,650"/></Shape>
      <String CONTENT="tum et"/><String CONTENT="cetera"/></TextLine>
  </TextBlock></PrintSpace></Page></Layout>
</alto>
"""


def test_alto(tmp_path):
    picture(tmp_path / "scan.png", 200, 100)
    write(tmp_path / "scan.xml", ALTO)
    found = written(tmp_path)
    assert told(found, "line", "page") == [("ad libi-", "l1", "scan"), ("tum et cetera", "l2", "scan")]
    assert found.rows[0]["baseline"] == [[10, 35], [190, 35]]
    assert found.rows[0]["polygon"] == [[10, 10], [190, 10], [190, 40], [10, 40]]
    assert found.rows[1]["polygon"] == [[10, 50], [190, 50], [190, 65]]


def test_pages_of_a_corpus():
    """Copiste's pictures have 0.6 of the size of what its ALTO speaks of: no place may be outside them."""
    folder = corpus("copiste-pages") / "valid"
    found = written(folder)
    assert len(found.rows) > 400
    for row in found.rows[::40]:
        with Image.open(row["image"]) as page:
            width, height = page.size
        x, y = np.array(row["polygon"]).T
        assert 0 <= x.min() < x.max() <= width + 2 and 0 <= y.min() < y.max() <= height + 2
        assert x.max() > width / 10 and y.max() - y.min() < height / 4


def test_iam(tmp_path):
    for line in ("a01-000u-00", "a01-000u-01", "b02-045-00"):
        picture(tmp_path / "lines" / line[:3] / line.rsplit("-", 1)[0] / f"{line}.png")
    lines = [
        "#--- lines.txt ---",
        "a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop|.",
        "a01-000u-01 ok 154 19 408 746 1661 89 Mr.|Gaitskell",
        "b02-045-00 err 154 19 408 746 1661 89 from|(|the|)|end",
        "b02-045-01 ok 154 19 408 746 1661 89 gone",
    ]
    write(tmp_path / "ascii" / "lines.txt", "\n".join(lines) + "\n")
    write(tmp_path / "ascii" / "forms.txt", "a01-000u 007 2 prt 7 5 52 36\n")
    for name, forms in (("trainset", "a01-000u"), ("validationset1", ""), ("testset", "b02-045")):
        write(tmp_path / "task" / f"{name}.txt", forms + "\n")
    found = written(tmp_path)
    assert found.layout == "IAM"
    assert told(found, "writer", "page", "split") == [
        ("A MOVE to stop.", "007", "a01-000u", "train"),
        ("Mr. Gaitskell", "007", "a01-000u", "train"),
        ("from (the) end", "b02", "b02-045", "test"),
    ]
    assert found.left_out == [("b02-045-01", "missing picture")]


def test_rimes(tmp_path):
    picture(tmp_path / "images" / "train2011-0.png", 300, 100)
    xml = """<?xml version="1.0" encoding="utf-8"?>
    <DocumentList><SinglePage FileName="images/train2011-0.png">
      <Paragraph Bottom="90" Left="5" Right="280" Top="5">
        <Line Bottom="40" Left="10" Right="280" Top="5" Value="Monsieur, l&apos;an"/>
        <Line Bottom="" Left="10" Right="280" Top="5" Value="nowhere"/>
      </Paragraph></SinglePage></DocumentList>"""
    write(tmp_path / "training_2011.xml", xml)
    found = written(tmp_path)
    assert found.layout == "RIMES"
    assert told(found, "polygon", "split") == [
        ("Monsieur, l'an", [[10, 5], [280, 5], [280, 40], [10, 40]], "train")
    ]
    assert [reason for _, reason in found.left_out] == ["a line without its place"]


UNIPEN = """.VERSION 1.0
.DATA_SOURCE x
.WRITER_ID w7
.COORD X Y T
.HIERARCHY TEXT WORD CHARACTER
.SEGMENT TEXT 0-4 ? "ab c"
.SEGMENT WORD 0-2 OK "ab"
.SEGMENT CHARACTER 0 OK "a"
.SEGMENT WORD 4:1-4:2 GOOD "c"
.SEGMENT WORD 9 GOOD "lost"
.PEN_DOWN
0 0 1
10 5 2
.PEN_UP
11 5 3
.PEN_DOWN
20 0 4
.PEN_UP
.PEN_DOWN
30 0 5
31 1 6
32 2 7
33 3 8
"""


def test_unipen_segments(tmp_path):
    write(tmp_path / "data" / "a.dat", UNIPEN)
    found = written(tmp_path)
    assert found.layout == "UNIPEN" and told(found, "writer") == [("ab", "w7"), ("c", "w7")]
    strokes = [[stroke.tolist() for stroke in row["strokes"]] for row in found.rows]
    assert strokes == [[[[0, 0], [10, -5]], [[20, 0]]], [[[31, -1], [32, -2]]]]
    assert [reason for _, reason in found.left_out] == ["cannot be read as ink"]


def test_unipen_includes_files_of_the_folder_alone(tmp_path):
    head, _, ink = UNIPEN.partition(".PEN_DOWN")
    secret = write(tmp_path / "secret.dat", ".PEN_DOWN\n9 9\n")
    root = tmp_path / "corpus"
    write(root / "data" / "a.dat", ".INCLUDE x/ink.dat\n" + head)
    outside = f".INCLUDE {secret}\n.INCLUDE ../../secret.dat\n"
    write(root / "data" / "b.dat", outside + '.SEGMENT WORD 0 OK "no"\n')
    write(root / "include" / "x" / "ink.dat", ".COORD X Y T\n.PEN_DOWN" + ink)
    found = written(root)
    assert told(found) == [("ab",), ("c",)]
    assert [reason for _, reason in found.left_out].count("a file that it includes is missing") == 2


INKML = """<?xml version="1.0" encoding="UTF-8"?>
<ink xmlns="http://www.w3.org/2003/InkML">
  <annotation type="writer">w1</annotation>{said}
  <trace id="t1">0 0, 10 10</trace><trace id="t2">20 0, 30 10</trace>{more}
</ink>
"""


def test_inkml_that_says_what_is_written(tmp_path):
    write(
        tmp_path / "train" / "a.inkml",
        INKML.format(said='<annotation type="truth">$x$</annotation>', more=""),
    )
    write(tmp_path / "train" / "b.inkml", INKML.format(said="", more=""))
    found = written(tmp_path)
    assert found.layout == "InkML" and told(found, "writer", "split") == [("$x$", "w1", "train")]
    assert len(found.rows[0]["strokes"]) == 2
    assert found.left_out == [(str(Path("train/b.inkml")), "no annotation that says what is written")]


def test_inkml_of_a_page_of_lines(tmp_path):
    view = """<traceView><annotation type="type">Textline</annotation>
      <annotation type="transcription">{0}</annotation><traceView traceDataRef="#{1}"/></traceView>"""
    more = f"<traceView>{view.format('one', 't1')}{view.format('two', 't2')}</traceView>"
    write(tmp_path / "a.inkml", INKML.format(said="", more=more))
    found = written(tmp_path)
    assert told(found, "page") == [("one", "a"), ("two", "a")]
    assert [[stroke.tolist() for stroke in row["strokes"]] for row in found.rows] == [
        [[[0, 0], [10, 10]]],
        [[[20, 0], [30, 10]]],
    ]


def test_ink_with_texts_beside_it(tmp_path):
    write(tmp_path / "a.json", "[[0, 0, 1, 1]]")
    write(tmp_path / "a.txt", "i")
    write(tmp_path / "b.inkml", INKML.format(said="", more=""))
    write(tmp_path / "b.txt", "ii")
    write(tmp_path / "c.json", "[[0, 0, 1, NaN]]")
    write(tmp_path / "c.txt", "iii")
    found = written(tmp_path)
    assert found.layout == "texts beside ink" and sorted(told(found)) == [("i",), ("ii",)]
    assert [reason for _, reason in found.left_out] == ["cannot be read as ink"]
