"""Product lists as people write them: what is read, and how each mistake is named."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_tools.product_files import ProductFile, read_product_file

HEADER = "miraklProductId,productSku\n"


def products(file: ProductFile) -> list[tuple[str, str]]:
    assert file.mistakes == []
    return [(located.product.mirakl_product_id, located.product.product_sku) for located in file.products]


def places(file: ProductFile) -> list[str]:
    return [located.where for located in file.products]


def mistakes(name: str, text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [str(mistake) for mistake in read_product_file(name, data).mistakes]


def read(name: str, text: str | bytes) -> ProductFile:
    return read_product_file(name, text if isinstance(text, bytes) else text.encode())


class TestCsv:
    def test_rows_are_read_with_the_lines_they_stand_in(self) -> None:
        file = read("p.csv", HEADER + "M1,S1\nM2,S2\n")

        assert [("M1", "S1"), ("M2", "S2")] == products(file)
        assert ["p.csv line 2", "p.csv line 3"] == places(file)

    @pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;", "\ufeffsep=;"])
    def test_a_line_that_names_the_separator_is_understood(self, first: str) -> None:
        text = f"{first}\r\nmiraklProductId;productSku\r\nM1;S1\r\n;\r\nM2\r\n"
        file = read_product_file("p.csv", text.encode())
        assert [("M1", "S1")] == [tuple(located.product) for located in file.products]
        assert ["p.csv line 5: has 1 of 2 cells: productSku is missing"] == list(map(str, file.mistakes))

    def test_another_separator_in_the_header_does_not_confuse(self) -> None:
        text = 'miraklProductId;productSku;"price, EUR"\nM1;S1;"1,5"\n'
        assert [("M1", "S1")] == [tuple(each.product) for each in read_product_file("p.csv", text.encode()).products]

    @pytest.mark.parametrize("row", [";;", " ; ;\t", '"";"";""'])
    def test_a_row_of_separators_only_is_no_product(self, row: str) -> None:
        text = f";;\nmiraklProductId;productSku;x\nM1;S1;\n{row}\n"
        file = read_product_file("p.csv", text.encode())
        assert (1, []) == (len(file.products), file.mistakes)

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_columns_may_stand_in_any_order_among_others_and_be_separated_as_the_country_likes(
        self, separator: str
    ) -> None:
        text = separator.join(["name", "productSku", "miraklProductId"]) + "\n" + separator.join(["Bolt", "S1", "M1"])

        assert [("M1", "S1")] == products(read("p.csv", text))

    def test_a_byte_order_mark_and_windows_line_ends_change_nothing(self) -> None:
        text = "\ufeff" + HEADER.replace("\n", "\r\n") + "M1,S1\r\n\r\nM2,S2\r\n"

        assert ["p.csv line 2", "p.csv line 4"] == places(read("p.csv", text))

    def test_line_numbers_stay_true_behind_a_quoted_field_of_several_lines(self) -> None:
        file = read("p.csv", 'miraklProductId,productSku,note\nM1,S1,"one\ntwo\nthree"\nM2,S2,x\n')

        assert ["p.csv line 2", "p.csv line 5"] == places(file)

    def test_blank_lines_are_skipped_and_counted(self) -> None:
        assert ["p.csv line 4"] == places(read("p.csv", HEADER + "\n   \nM1,S1\n"))

    def test_ids_are_taken_as_they_are(self) -> None:
        assert [(" M1", "S1 ")] == products(read("p.csv", HEADER + " M1,S1 \n"))

    def test_a_missing_column_is_named_with_the_nearest_one(self) -> None:
        assert ["p.csv line 1: the header has no column miraklProductId; the nearest is 'MiraklProductID'"] == mistakes(
            "p.csv", "MiraklProductID,productSku\nM1,S1\n"
        )

    def test_a_column_that_stands_twice_is_refused(self) -> None:
        assert ["p.csv line 1: the header has the column productSku 2 times; keep one"] == mistakes(
            "p.csv", "miraklProductId,productSku,productSku\nM1,S1,S2\n"
        )

    def test_every_row_of_the_wrong_width_is_named(self) -> None:
        found = mistakes("p.csv", HEADER + "M1\nM2,S2\nM3,S3,extra\n")

        assert [
            "p.csv line 2: has 1 of 2 cells: productSku is missing",
            "p.csv line 4: has 3 cells, the header 2; quote a cell that holds the separator",
        ] == found

    def test_a_quote_that_is_never_closed_is_named_where_it_was_opened(self) -> None:
        (found,) = mistakes("p.csv", HEADER + 'M1,S1\n"M2,S2\nM3,S3\n')

        assert found.startswith("p.csv line 3: is not CSV")

    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
                st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            ).filter(lambda row: any(map(str.strip, row))),  # a row of blanks is an empty line, as in spreadsheets
            min_size=1,
        )
    )
    def test_whatever_a_csv_writer_writes_is_read_back(self, rows: list[tuple[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["miraklProductId", "productSku"])
        writer.writerows(rows)

        assert rows == products(read("p.csv", text.getvalue()))


class TestJson:
    def test_a_list_of_objects_is_read_with_the_lines_in_which_they_begin(self) -> None:
        file = read(
            "p.json",
            '[\n{"miraklProductId": "M1", "productSku": "S1"},\n\n{\n"miraklProductId": "M2",\n"productSku": "S2"}\n]',
        )

        assert [("M1", "S1"), ("M2", "S2")] == products(file)
        assert ["p.json line 2", "p.json line 4"] == places(file)

    def test_the_body_of_the_published_operation_is_read_with_its_client_specification(self) -> None:
        body = {"clientSpecificationId": "9b2e", "products": [{"miraklProductId": "M1", "productSku": "S1"}]}

        file = read("p.json", json.dumps(body, indent=2))

        assert [("M1", "S1")] == products(file)
        assert file.client_specification_id == "9b2e"
        assert places(file) == ["p.json line 4"]

    def test_an_unknown_name_beside_the_products_is_noted(self) -> None:
        file = read("p.json", '{"reason": "x",\n "products": [{"miraklProductId": "M", "productSku": "S", "name": 1}]}')

        assert ["p.json line 1: 'reason' is ignored"] == file.notes
        assert [("M", "S")] == products(file)

    def test_every_wrong_object_is_named(self) -> None:
        found = mistakes(
            "p.json",
            '[\n{"miraklProductId": 7, "productSku": "S"},\n{"miraklProductID": "M", "productSku": null},\n"M:S"\n]',
        )

        assert [
            "p.json line 2: miraklProductId must be a string in quotes, not a number",
            "p.json line 3: miraklProductId is missing; the nearest is 'miraklProductID'",
            "p.json line 3: productSku must be a string in quotes, not null",
            "p.json line 4: an object with miraklProductId and productSku is expected, not a string",
        ] == found

    def test_a_name_given_twice_in_one_object_is_refused(self) -> None:
        assert ["p.json line 1: productSku stands twice in one object; keep one"] == mistakes(
            "p.json", '[{"miraklProductId": "M", "productSku": "S", "productSku": "T"}]'
        )

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('[\n{"miraklProductId": "M",\n}]', "p.json line 3: is not JSON"),
            ("[\n\n", "p.json line 3: is not JSON"),
            ('[{"miraklProductId": "M", "productSku": "S"}]\nrest', "p.json line 2: is not JSON"),
            ('{"products": 3}', "p.json line 1: 'products' must be a list"),
            ('{"items": []}', "p.json line 1: the object has no list 'products'"),
            ('"text"', "p.json line 1: a list of objects"),
            ('{"products": [], "products": []}', "p.json line 1: 'products' stands here a second time"),
            ('{"clientSpecificationId": 3, "products": []}', "p.json line 1: clientSpecificationId must be a string"),
            ("[" * 100_000, "p.json line 1: is nested too deeply"),
            ("[]", "p.json: holds no product"),
            ("", "p.json: is empty"),
        ],
    )
    def test_what_is_no_product_list_is_told_with_its_line(self, text: str, expected: str) -> None:
        assert mistakes("p.json", text)[0].startswith(expected)


class TestJsonl:
    def test_one_object_a_line_blank_lines_skipped(self) -> None:
        text = '{"miraklProductId": "M1", "productSku": "S1"}\r\n\n{"miraklProductId": "M2", "productSku": "S\u2028"}\n'

        file = read("p.jsonl", text)

        assert [("M1", "S1"), ("M2", "S\u2028")] == products(file)
        assert ["p.jsonl line 1", "p.jsonl line 3"] == places(file)

    def test_every_wrong_line_is_named(self) -> None:
        found = mistakes("p.jsonl", '{"miraklProductId": "M1"}\n{"miraklProductId": \n[1]\n')

        assert [mistake.split(":")[0] for mistake in found] == ["p.jsonl line 1", "p.jsonl line 2", "p.jsonl line 3"]


class TestForm:
    @pytest.mark.parametrize(
        "text",
        [
            HEADER + "M,S\n",
            '[{"miraklProductId": "M", "productSku": "S"}]',
            '{"products": [{"miraklProductId": "M", "productSku": "S"}]}',
            '{\n"products": [\n{"miraklProductId": "M", "productSku": "S"}]}',
            '{"miraklProductId": "M", "productSku": "S"}',
            '\n{"miraklProductId": "M", "productSku": "S"}\n{"miraklProductId": "M", "productSku": "S"}\n',
        ],
        ids=["csv", "json", "body", "pretty body", "one line", "lines"],
    )
    def test_standard_input_is_read_whichever_form_it_has(self, text: str) -> None:
        assert {("M", "S")} == set(products(read("standard input", text)))

    def test_a_broken_first_line_of_many_is_still_seen_as_lines(self) -> None:
        found = mistakes("standard input", '{"miraklProductId": }\n{"miraklProductId": "M", "productSku": "S"}\n')

        assert ["standard input line 1"] == [mistake.split(":")[0] for mistake in found]


class TestEncoding:
    def test_every_line_that_is_not_utf8_is_named(self) -> None:
        data = HEADER.encode() + "Mä,S\n".encode("latin-1") + b"M,S\n" + "M,Sü\n".encode("latin-1")

        assert [
            "p.csv line 2: byte 2 is not UTF-8; save the file as UTF-8",
            "p.csv line 4: byte 4 is not UTF-8; save the file as UTF-8",
        ] == mistakes("p.csv", data)

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
    def test_utf16_is_told_as_such(self, encoding: str) -> None:
        assert ["p.csv line 1: this is UTF-16; save the file as UTF-8"] == mistakes(
            "p.csv", ("\ufeff" + HEADER).encode(encoding)
        )
