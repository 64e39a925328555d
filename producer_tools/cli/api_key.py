"""The API key of a command: from the settings or from a file, never from a flag's value."""

from pathlib import Path

from producer_tools.errors import MisconfiguredError
from schemas.settings.secret_files import read_value


def api_key_from(file: str | None) -> str | None:
    """Read the key in ``file``; ``None`` without one: the settings decide."""
    if file is None:
        return None
    try:
        return read_value(Path(file).read_bytes())
    except UnicodeDecodeError:
        raise MisconfiguredError(f"--api-key-file {file} is not UTF-8 text: put the key alone into it.") from None
    except OSError as error:
        raise MisconfiguredError(f"--api-key-file {file} cannot be read ({error.strerror}).") from None
