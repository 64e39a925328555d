"""Which interpreter a benchmark runs on: the way it was built is worth as much as many an optimization."""

import platform
import sysconfig

from consumer import compiled


def interpreter() -> str:
    """Name, version and build, and the form of the engine.

    Profile-guided optimization is worth about a tenth of the service's CPU. Debian's own interpreters have it although
    they are configured without.
    """
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    if arguments is None:
        built = "how it was built is not known"
    else:
        options = [each for each in ("--enable-optimizations", "--with-lto") if each in arguments]
        built = f"configured with {' and '.join(options)}" if options else "configured without --enable-optimizations"
    name = f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()}), {built}"
    return f"{name}; the engine {'compiled' if compiled.available() else 'interpreted'}"
