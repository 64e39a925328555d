"""Signals to a program of their own: they are the process's, and end it."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.process.signals import StopSignals


@contextmanager
def program(text: str) -> Iterator["subprocess.Popen[str]"]:
    """Run it with the signals waited for, up to its line ``there``."""
    beginning = """
        import os, signal, threading, time, weakref
        from schemas.process.signals import StopSignals
        def there():
            print("there", flush=True)
    """
    source = (
        textwrap.dedent(beginning) + "with StopSignals() as signals:\n" + textwrap.indent(textwrap.dedent(text), "  ")
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "there\n" == process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_anything_is_begun_a_signal_ends_the_process_with_0(number: signal.Signals) -> None:
    with program("there(); time.sleep(60)") as process:
        process.send_signal(number)
        assert 0 == process.wait(10)


def test_a_signal_in_a_destructor_ends_the_process_all_the_same() -> None:
    """Whatever a handler raised there would be ignored."""
    text = """
        class Dying:
            def __del__(self):
                there()
                time.sleep(1)
        Dying()
        time.sleep(60)
    """
    with program(text) as process:
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(10)


def test_a_main_thread_that_waits_in_c_code_keeps_no_signal_from_being_heard() -> None:
    text = """
        import ctypes
        signals.on_first(lambda: os._exit(3))
        there()
        while True:
            ctypes.CDLL(None).sleep(60)
    """
    with program(text) as process:
        process.send_signal(signal.SIGTERM)
        assert 3 == process.wait(10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_begins_the_stop_and_the_second_leaves_at_once(number: signal.Signals, code: int) -> None:
    with program("signals.on_first(lambda: print('stopping', flush=True)); there(); time.sleep(60)") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert "stopping\n" == process.stdout.readline()
        assert process.poll() is None

        process.send_signal(number)
        assert code == process.wait(10)


def test_threads_that_come_later_get_none_of_the_signals() -> None:
    """One that did would end the process in the signal's own way."""
    text = """
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        signals.on_first(there)
        there()
        time.sleep(60)
    """
    with program(text) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert "there\n" == process.stdout.readline()
        assert process.poll() is None


def test_afterwards_signals_are_what_they_were() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with StopSignals():
        assert before != signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert before == signal.pthread_sigmask(signal.SIG_BLOCK, ())
