"""Messages of the packages on standard error."""

import logging
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from open_clip_mmrl.utils.log import show_messages


def test_info_and_warnings_are_shown_once_each(capsys):
    show_messages()
    show_messages()
    logging.getLogger("open_clip_mmrl.training").info("epoch [1/2]")
    logging.getLogger("benchmark_adapters").warning("two labels")
    logging.getLogger("another").info("not ours")
    shown = capsys.readouterr()
    assert shown.err == "epoch [1/2]\ntwo labels\n" and not shown.out


def test_a_text_is_shown_once_per_command(capsys):
    logger = logging.getLogger("open_clip_mmrl.data")
    for _ in range(2):
        show_messages()
        for place in ("a", "a", "b"):
            logger.warning("%s: two labels", place)
    assert capsys.readouterr().err == 2 * "a: two labels\nb: two labels\n"


def test_a_higher_level_leaves_the_warnings(capsys):
    show_messages()
    show_messages(logging.WARNING)
    logging.getLogger("open_clip_mmrl").info("epoch 1")
    logging.getLogger("open_clip_mmrl").warning("two labels")
    assert capsys.readouterr().err == "two labels\n"


def test_a_root_handler_of_others_does_not_show_them_again(capsys):
    show_messages()
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    try:
        logging.getLogger("open_clip_mmrl").warning("two labels")
    finally:
        logging.getLogger().removeHandler(handler)
    assert capsys.readouterr().err.count("two labels") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_terminal_that_is_gone_does_not_end_the_work(monkeypatch):
    show_messages()
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        logging.getLogger("open_clip_mmrl").warning("epoch 1")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
