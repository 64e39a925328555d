"""A real Alertmanager, configured as the README says, asks through the gateway for what its alerts are about."""

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

from producer_tools.sandbox.mirakl import Fault
from tests.integration.contract.deployment import Deployment
from tests.support.alertmanager import Alertmanager
from tests.support.parts import free_port, wait_until
from tests.support.records import read_all
from tests.support.service import ROOT, Service

TOKEN = "token-of-the-test"
RULES = """\
rules:
  - name: stuck
    match: {{alertname: ProductStuck}}
    products: {{annotation: mirakl_products}}
    client_specification: {{label: client}}
    reason: {{annotation: summary}}
"""
