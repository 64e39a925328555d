"""The events as typed, frozen models: what producers build and subscribers get.

Attributes are snake_case, their aliases the contract's names; either may be given. Times are aware, in UTC,
to the millisecond.

>>> request = ProductResyncRequested(
...     request_id="5b0d2c1e-9f7a-4c1d-8e55-0f6b7f7f0a11",
...     products=[ProductReference(mirakl_product_id="MKL-001", product_sku="SKU-WIDGET-42")],
...     requested_at=datetime(2025, 1, 31, 12, tzinfo=UTC),
...     requested_by="stock-alert",
... )
>>> request.to_avro()["products"]
[{'miraklProductId': 'MKL-001', 'productSku': 'SKU-WIDGET-42'}]
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
