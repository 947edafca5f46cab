import pytest

from retrieval.columns import map_columns
from retrieval.errors import IngestError


@pytest.mark.parametrize(
    ("names", "sources"),
    [
        (
            "InvoiceNo StockCode Description Quantity InvoiceDate UnitPrice CustomerID Country",
            {
                "customer_id": "CustomerID",
                "timestamp": "InvoiceDate",
                "order_id": "InvoiceNo",
                "item_id": "StockCode",
                "quantity": "Quantity",
                "unit_price": "UnitPrice",
                "title": "Description",
            },
        ),
        (
            "household_id basket_id product_id quantity sales_value transaction_timestamp",
            {
                "customer_id": "household_id",
                "timestamp": "transaction_timestamp",
                "order_id": "basket_id",
                "item_id": "product_id",
                "quantity": "quantity",
                "amount": "sales_value",
            },
        ),
        (
            "customer_id date number_of_cds dollar_value",
            {
                "customer_id": "customer_id",
                "timestamp": "date",
                "quantity": "number_of_cds",
                "amount": "dollar_value",
            },
        ),
    ],
)
def test_guesses_the_columns_of_known_logs(names: str, sources: dict[str, str]) -> None:
    mapping = map_columns(names.split(), file="log.csv")
    assert mapping.sources == sources
    assert set(mapping.guessed) == set(sources)


def test_case_and_punctuation_do_not_matter() -> None:
    mapping = map_columns(["CUSTOMER-ID", "Order Date", "Unit Price"], file="log.csv")
    assert mapping.sources["customer_id"] == "CUSTOMER-ID"
    assert mapping.sources["timestamp"] == "Order Date"
    assert mapping.sources["unit_price"] == "Unit Price"


def test_an_option_wins_and_its_column_is_not_guessed_again() -> None:
    mapping = map_columns(
        ["customer_id", "household_id", "date", "amount"],
        {"customer_id": "household_id", "amount": "amount"},
        file="log.csv",
    )
    assert mapping.sources["customer_id"] == "household_id"
    assert mapping.guessed == ("timestamp",)


def test_an_absent_column_names_the_option_the_columns_and_the_nearest() -> None:
    with pytest.raises(IngestError) as caught:
        map_columns(["CustomerID", "Date"], {"customer_id": "CustomerIdd"}, file="log.csv")
    assert "--map customer_id=CustomerIdd" in caught.value.message
    assert "Did you mean 'CustomerID'?" in caught.value.message
    assert "CustomerID, Date" in caught.value.hint


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(IngestError, match="Did you mean 'customer_id'"):
        map_columns(["a"], {"customerid": "a"}, file="log.csv")


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["date", "amount"], "customer_id"),
        (["customer_id", "amount"], "timestamp"),
        (["customer_id", "date"], "amount or unit_price"),
    ],
)
def test_a_needed_column_that_is_missing_is_named(names: list[str], missing: str) -> None:
    with pytest.raises(IngestError, match=f"no column for {missing}") as caught:
        map_columns(names, file="log.csv")
    assert ", ".join(names) in caught.value.message
    assert "--map" in caught.value.hint


def test_a_single_column_points_to_the_separator() -> None:
    with pytest.raises(IngestError, match="separator"):
        map_columns(["customer_id~date~amount"], file="log.csv")


def test_a_file_without_header_is_told_by_its_first_line() -> None:
    with pytest.raises(IngestError) as caught:
        map_columns(["00004", "19970101", "29.33"], file="log.csv")
    assert "looks like data" in caught.value.hint
