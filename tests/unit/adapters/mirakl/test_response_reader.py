"""One HTTP/1.1 response, read from bytes: as lenient as curl, and bounded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.mirakl.response_reader import AnswerLimits, AnswerReader, BrokenAnswerError

BODY = b'{"tracking_id":"t-1"}'
WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
IN_CHUNKS = CHUNKED + b'5;x=y\r\n{"tra\r\n10\r\ncking_id":"t-1"}\r\n0\r\nA-Trailer: x\r\n\r\n'
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
LIMITS = AnswerLimits()


def read(*pieces: bytes, limits: AnswerLimits = LIMITS, ends: bool = False) -> tuple[int, bytes, AnswerReader]:
    """Return the status, the body and the reader after all pieces, and the connection's end if it ``ends``."""
    reader, head, body = AnswerReader(limits), None, b""
    for piece in (*pieces, b"") if ends else pieces:
        reader.receive(piece)
        head = head or reader.head()
        while head is not None and not reader.complete and (part := reader.body()):
            body += part
    assert head is not None
    return head.status, body, reader


@pytest.mark.parametrize("answer", [WITH_LENGTH, IN_CHUNKS, EARLY_HINTS * 3 + WITH_LENGTH, b"\r\n" + WITH_LENGTH])
@given(st.data())
def test_an_answer_means_the_same_wherever_it_is_cut(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=8)))
    pieces = [answer[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    status, body, reader = read(*pieces)
    assert (200, BODY) == (status, body)
    assert reader.complete
    assert reader.reusable


def test_an_answer_in_single_bytes_is_read() -> None:
    assert (200, BODY) == read(*(bytes([byte]) for byte in IN_CHUNKS))[:2]


@pytest.mark.parametrize(
    "answer",
    [
        WITH_LENGTH.replace(b"\r\n", b"\n"),
        WITH_LENGTH.replace(b"OK", b"").replace(b"200 ", b"200"),
        WITH_LENGTH.replace(b"\r\n\r\n", b"\r\nno field\r\n: no name\r\nFolded: a\r\n b\r\n\r\n"),
        WITH_LENGTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 21\r\n\r\n"),
        IN_CHUNKS.replace(b"chunked", b"chunked\r\nTransfer-Encoding: chunked"),
        IN_CHUNKS.replace(b"chunked", b"identity, chunked"),
    ],
)
def test_what_curl_reads_is_read(answer: bytes) -> None:
    status, body, reader = read(answer)
    assert (200, BODY) == (status, body)
    assert reader.reusable


@pytest.mark.parametrize(
    "answer",
    [
        WITH_LENGTH + b"H",
        WITH_LENGTH.replace(b"1.1", b"1.0"),
        WITH_LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive, Close\r\n\r\n"),
        IN_CHUNKS.replace(b"chunked", b"chunked\r\nContent-Length: 21"),
        IN_CHUNKS.replace(b"chunked", b"gzip, chunked"),
    ],
)
def test_a_connection_is_not_used_again_where_the_end_of_the_answer_is_in_doubt(answer: bytes) -> None:
    status, body, reader = read(answer)
    assert (200, BODY) == (status, body)
    assert reader.complete
    assert not reader.reusable


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + BODY
    assert not read(answer)[2].complete
    status, body, reader = read(answer, ends=True)
    assert (200, BODY) == (status, body)
    assert reader.complete
    assert not reader.reusable


@pytest.mark.parametrize("answer", [WITH_LENGTH, IN_CHUNKS])
def test_an_answer_that_is_cut_short_is_broken(answer: bytes) -> None:
    for length in range(len(answer)):
        with pytest.raises(BrokenAnswerError):
            read(answer[:length], ends=True)


@pytest.mark.parametrize(
    ("answer", "limits"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500, replace(LIMITS, head_bytes=400)),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30 + b"\r\n", replace(LIMITS, header_lines=20)),
        (EARLY_HINTS * 20, LIMITS),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", LIMITS),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500, replace(LIMITS, received_bytes=400)),
        (CHUNKED + b"1\r\nx\r\n" * 30, replace(LIMITS, chunk_lines=50)),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 60, replace(LIMITS, chunk_lines=50)),
        (CHUNKED + b"1;" + b"x" * 500, replace(LIMITS, line_bytes=400)),
        (CHUNKED + b"no size\r\n", LIMITS),
        (CHUNKED + b"1\r\nxx\r\n", LIMITS),
        (CHUNKED + b"-1\r\nx\r\n", LIMITS),
        (b"SSH-2.0-OpenSSH_9.2\r\n", LIMITS),
        (b"HTTP/2 200\r\n\r\n", LIMITS),
    ],
)
def test_what_is_no_answer_or_beyond_a_bound_is_broken(answer: bytes, limits: AnswerLimits) -> None:
    for pieces in ([answer], [bytes([byte]) for byte in answer]):
        with pytest.raises(BrokenAnswerError):
            read(*pieces, limits=limits)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(answer: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", CHUNKED):
        reader = AnswerReader()
        try:
            for piece in (prefix + answer, b""):
                reader.receive(piece)
                if reader.head() is not None:
                    while not reader.complete and reader.body():
                        pass
                    break
        except BrokenAnswerError:
            pass
