from xml.etree import ElementTree

from open_clip_mmrl.assets.draw_towers import PICTURE, draw


def test_checked_in_picture_is_the_one_the_script_draws():
    assert PICTURE.read_text(encoding="utf-8") == draw()


def test_picture_is_well_formed_and_loads_nothing():
    root = ElementTree.fromstring(draw())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not {node.tag.split("}")[1] for node in root.iter()} & {"image", "script", "style"}
