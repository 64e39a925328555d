"""The settings of both programs: their names, their meaning, and how they are read."""

from schemas.settings.durations import format_duration, parse_duration, parse_time_or_age
from schemas.settings.environment import (
    EDGES,
    SETTINGS,
    Edge,
    Row,
    Setting,
    SettingsError,
    Source,
    describe,
    load,
    redacted_url,
)
from schemas.settings.gateway import GatewaySettings
from schemas.settings.mirakl import MiraklSettings
from schemas.settings.model import (
    AdminSettings,
    Delivery,
    GroupProtocol,
    KafkaSettings,
    LogFormat,
    LoggedRequests,
    LogLevel,
    LogSettings,
    SchemaRegistrySettings,
    Settings,
    TopicSettings,
)

__all__ = [
    "EDGES",
    "SETTINGS",
    "AdminSettings",
    "Delivery",
    "Edge",
    "GatewaySettings",
    "GroupProtocol",
    "KafkaSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "LoggedRequests",
    "MiraklSettings",
    "Row",
    "SchemaRegistrySettings",
    "Setting",
    "Settings",
    "SettingsError",
    "Source",
    "TopicSettings",
    "describe",
    "format_duration",
    "load",
    "parse_duration",
    "parse_time_or_age",
    "redacted_url",
]
